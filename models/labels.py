"""Words for the seven classes, as data sets and models of others write them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

NOUNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "angry": "anger",
        "disgusted": "disgust",
        "fearful": "fear",
        "scared": "fear",
        "afraid": "fear",
        "happy": "happiness",
        "joy": "happiness",
        "sad": "sadness",
        "surprised": "surprise",
    }
)
"""Other words for the seven classes."""


def noun(word: str) -> str:
    """The name in `EMOTIONS` of the class that a word of any case means; other words in small letters."""
    small = word.strip().casefold()
    return NOUNS.get(small, small)
