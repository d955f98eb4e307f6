"""Pure values and maths: same input, same output; no clock, files, sockets, asyncio or logging."""
