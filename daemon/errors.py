"""Errors of the daemon, each one line that says what to do.

AttunedError
├── UnusableInputError   exit code 2: a file, an address or a setting cannot be used
│   ├── DemoError        the made-up call cannot be filmed here (daemon.demo.portraits)
│   ├── SourceError      a source cannot be opened
│   └── PublishError     the broker is not there, or refuses
└── FailedError          exit code 1: it began and did not come to its end
"""


class AttunedError(Exception):
    """What users are told in one line; never a traceback."""

    exit_code = 1


class UnusableInputError(AttunedError):
    """A file, an address or a setting cannot be used."""

    exit_code = 2


class SourceError(UnusableInputError):
    """A source cannot be opened."""


class PublishError(UnusableInputError):
    """The broker is not there, or refuses."""


class FailedError(AttunedError):
    """It began and did not come to its end; what there is, is kept and marked partial."""
