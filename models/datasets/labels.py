"""What data sets call the seven classes, and the parts they come in."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from models.errors import DataError
from models.labels import noun
from pipeline.emotions import EMOTIONS

Warn = Callable[[str], None]
"""Called with one line that whoever reads the figures should see."""

_N_NAMED: Final = 5


def emotion_index(word: str) -> int:
    """Index into `EMOTIONS` of the class that a noun or an adjective names, in any case; -1 for all other words."""
    name = noun(word)
    return EMOTIONS.index(name) if name in EMOTIONS else -1


def named(words: Counter[str]) -> str:
    """The most frequent words with their counts, and how many there are besides."""
    more = len(words) - _N_NAMED
    told = ", ".join(f"{word} {n}" for word, n in words.most_common(_N_NAMED))
    return told + (f" and {more} more" if more > 0 else "")


def chosen_split(path: Path, split: str | None, known: Sequence[str], warn: Warn) -> str | None:
    """`split` as the data set at `path` writes it, in whatever case it was asked for; None means all of them.

    That several splits are taken together is said through `warn`.

    Raises:
        DataError: The data set has no such split.
    """
    if split is None:
        if len(known) > 1:
            warn(f"{path}: {', '.join(known)} taken together; choose one to keep training pictures out of a test")
        return None
    for name in known:
        if name.casefold() == split.strip().casefold():
            return name
    choice = f"choose from {', '.join(known)}" if known else "it is not divided, so give none"
    msg = f"{path}: no split {split!r}; {choice}"
    raise DataError(msg)
