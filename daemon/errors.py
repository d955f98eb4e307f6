"""Errors of the daemon, each one line that says what to do.

AttunedError
├── UnusableInputError   exit code 2: a file, an address or a setting cannot be used
│   ├── DemoError        the made-up call cannot be filmed here (daemon.demo.portraits)
│   ├── SourceError      a source cannot be opened, and trying again will not help
│   └── PublishError     the broker is not there, or refuses
├── FailedError          exit code 1: it began and did not come to its end
└── LostError            a connection broke or could not be made; supervisors try again
"""


class AttunedError(Exception):
    """What users are told in one line; never a traceback."""

    exit_code = 1


class UnusableInputError(AttunedError):
    """A file, an address or a setting cannot be used."""

    exit_code = 2


class SourceError(UnusableInputError):
    """A source cannot be opened, and trying again will not help."""


class PublishError(UnusableInputError):
    """The broker is not there, or refuses."""


class FailedError(AttunedError):
    """It began and did not come to its end; what there is, is kept and marked partial."""


class LostError(AttunedError):
    """A connection broke or could not be made; trying again may help.

    Args:
        message: One line, without credentials.
        retry_after_s: How long the peer asked to be left alone.
        final_at_first: What was asked for is not there. Worth a wait where it has been there before, such as while a
            server starts again; where it never was, this is the end.
    """

    def __init__(self, message: str, *, retry_after_s: float = 0.0, final_at_first: bool = False) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.final_at_first = final_at_first
