"""What implements the protocols of `pipeline`: importing or constructing never downloads."""
