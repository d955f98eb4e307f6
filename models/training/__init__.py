"""Training and export of the shipped models; needs the `train` extra."""
