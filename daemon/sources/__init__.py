"""Where pictures come from: each source is an async context manager that yields frames."""
