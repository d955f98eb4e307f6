"""The live page at `/`: what is read of a call while it goes on, in a browser."""
