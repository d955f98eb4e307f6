"""What can go wrong with models and data; every mistake is one line that says what to do.

Exception
├── ModelError            a model is missing, damaged, or not what the manifest or its description says
└── ValueError
    └── DataError         a data set cannot be used
"""


class ModelError(Exception):
    """A model is missing, damaged, or not what the manifest or its description says.

    A description may hold several mistakes; each is a line.
    """


class DataError(ValueError):
    """A data set cannot be used: missing, unreadable, or not of the documented shape."""
