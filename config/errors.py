"""Errors of the configuration.

ConfigError
"""

from collections.abc import Sequence


class ConfigError(Exception):
    """The settings are unusable; `mistakes` has one line for each mistake, and what to do about it."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = tuple(mistakes)
