"""What can go wrong with models and data; every message is one line that says what to do.

Exception
├── ModelError            a shipped model is missing, damaged, or not what the manifest says
└── ValueError
    └── DataError         a data set cannot be used
"""


class ModelError(Exception):
    """A model is missing, damaged, or not what the manifest says."""


class DataError(ValueError):
    """A data set cannot be used: missing, unreadable, or not of the documented shape."""
