"""A learnt head as it answers in a call: both arms of each face, instead of the generic heads."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.personal.heads import Arms
from models.personal.learners import HeadLearner, Learner, OffsetLearner
from models.personal.samples import Samples
from pipeline.emotions import F32, F64, N_EMOTIONS
from pipeline.types import Heads


class _Answers(Protocol):
    """Says what both arms say."""

    def __call__(self, pixel: F32, landmark: F32, interpretable: F32) -> tuple[F64, F64]: ...


@dataclass(frozen=True, slots=True, eq=False)
class ServedHead:
    """A version of a participant's head; for any thread, it never changes.

    heads: the names that readings bear. reads_interpretable: whether it looks at the 51 features; for the others these
    need not be computed.
    """

    heads: Heads
    reads_interpretable: bool
    _answers: _Answers

    def arms(self, pixel: F32, landmark: F32, interpretable: F32) -> tuple[F64, F64] | None:
        """Two (n, 7) pools, the pixel arm's and the landmark arm's; None where the head gives no probabilities.

        pixel, landmark: (n, d) embeddings; interpretable: (n, 51), anything where it is not read.
        """
        said = self._answers(pixel, landmark, interpretable)
        return said if all(np.isfinite(p).all() for p in said) else None


def served(learner: Learner, version: str, generic: Arms) -> ServedHead:
    """What a learner that has learnt does in a call.

    An offset moves both arms, a head has two of them; what reads the interpretable features has one answer for both.

    Args:
        learner: See `Learner`.
        version: Its name, such as `personal-3`.
        generic: The heads that an offset moves.
    """
    heads = Heads(version, version)
    if isinstance(learner, OffsetLearner) and learner.offset_ is not None:
        return ServedHead(heads, reads_interpretable=False, _answers=_moved(generic, np.exp(-learner.offset_)))
    if isinstance(learner, HeadLearner) and learner.arms_ is not None:
        return ServedHead(heads, reads_interpretable=False, _answers=_tuned(learner.arms_))
    return ServedHead(heads, reads_interpretable=True, _answers=_one_for_both(learner))


def _tuned(arms: Arms) -> _Answers:
    return lambda pixel, landmark, interpretable: (arms.pixel.pool(pixel), arms.landmark.pool(landmark))  # noqa: ARG005


def _moved(generic: Arms, factor: F64) -> _Answers:
    def answers(pixel: F32, landmark: F32, interpretable: F32) -> tuple[F64, F64]:  # noqa: ARG001 (one shape for all)
        pools = generic.pixel.pool(pixel) * factor, generic.landmark.pool(landmark) * factor
        return pools[0] / pools[0].sum(axis=1, keepdims=True), pools[1] / pools[1].sum(axis=1, keepdims=True)

    return answers


def _one_for_both(learner: Learner) -> _Answers:
    def answers(pixel: F32, landmark: F32, interpretable: F32) -> tuple[F64, F64]:
        n = len(pixel)
        nothing = np.zeros(n)
        samples = Samples(
            time_s=nothing,
            pixel=pixel,
            landmark=landmark,
            interpretable=interpretable,
            target=np.zeros((n, N_EMOTIONS)),
            confidence=nothing,
            quality=nothing,
            origin=np.zeros(n, dtype=np.uint8),
        )
        said = learner.predict_proba(samples)
        return said, said

    return answers
