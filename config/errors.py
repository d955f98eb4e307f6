"""Errors of the configuration.

ConfigError
"""

from collections.abc import Sequence


class ConfigError(Exception):
    """The settings are unusable; `mistakes` has one line for each mistake, and what to do about it."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        # What is quoted in a mistake, such as a key, may have line breaks in it.
        self.mistakes = tuple(" ".join(mistake.splitlines()) for mistake in mistakes)
        super().__init__("; ".join(self.mistakes))
