"""Training, export and evaluation of the shipped models; training itself needs the `train` extra."""
