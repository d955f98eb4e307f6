"""The version, where nothing heavy is imported to tell it."""

from importlib.metadata import version


def attuned_version() -> str:
    """Version of the installed package."""
    return version("attuned")
