"""Learners by name, and out of files."""

from pathlib import Path
from typing import Final

from models.errors import ModelError
from models.personal.heads import Arms
from models.personal.learners import KINDS, HeadLearner, Learner, OffsetLearner, learner_arrays
from models.personal.samples import GROUP_NOISE

LEARNERS: Final = ("offset", "head", *KINDS)
"""The simplest first; `head` is the default."""


def make_learner(name: str, generic: Arms, *, noise: float = GROUP_NOISE) -> Learner:
    """A learner of this name with the default settings, that has not learnt yet.

    noise: share of the group's labels that are taken to be wrong, by those that ask.

    Raises:
        ModelError: There is none of this name.
    """
    for kind in KINDS:
        if name == kind:
            # scikit-learn takes a second and 60 MB to import, which who serves heads can do without.
            from models.personal.classical import ClassicalLearner  # noqa: PLC0415

            return ClassicalLearner(kind)
    if name == OffsetLearner.name:
        return OffsetLearner(generic)
    if name == HeadLearner.name:
        return HeadLearner(generic, noise=noise)
    msg = f"no learner {name!r:.40}; choose from {', '.join(LEARNERS)}"
    raise ModelError(msg)


def load_learner(path: Path, generic: Arms) -> Learner:
    """The learner that a file holds.

    Raises:
        ModelError: It is missing, damaged, no learner, or one for other models.
    """
    name, arrays = learner_arrays(path)
    for kind in KINDS:
        if name == kind:
            from models.personal.classical import ClassicalLearner  # noqa: PLC0415

            return ClassicalLearner.from_arrays(kind, arrays, path)
    if name == OffsetLearner.name:
        return OffsetLearner.from_arrays(arrays, generic, path)
    if name == HeadLearner.name:
        return HeadLearner.from_arrays(arrays, generic, path)
    msg = f"{path} holds a learner {name!r:.40} that this attuned does not know; there are {', '.join(LEARNERS)}"
    raise ModelError(msg)
