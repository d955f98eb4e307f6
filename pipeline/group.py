"""Members → the group: synthesis, deviation, dominant emotions (GROUP, section 4.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from pipeline.emotions import EMOTIONS, F64
from pipeline.types import FusedReading, GroupReading, frozen_array


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """Constants of algorithm 7.

    minimum: members a group has at least; never less than 2, one person is no group.
    dominant_share: least probability of a dominant class; dominant_ratio: and least share of the largest.
    """

    minimum: int = 2
    dominant_share: float = 0.25
    dominant_ratio: float = 0.6


DEFAULT_GROUP = GroupSettings()


def dominant(probabilities: F64, settings: GroupSettings = DEFAULT_GROUP) -> tuple[str, ...]:
    """Classes with p >= 0.25 and >= 0.6 of the largest, in `EMOTIONS` order; a polarised group has several."""
    least = max(settings.dominant_share, settings.dominant_ratio * float(probabilities.max()))
    return tuple(name for name, p in zip(EMOTIONS, probabilities.tolist(), strict=True) if p >= least)


def synthesise(
    second: int,
    readings: Sequence[FusedReading],
    settings: GroupSettings = DEFAULT_GROUP,
    unread: Mapping[str, str] = MappingProxyType({}),
) -> GroupReading:
    """The group's distribution: the sum of its members' distributions, normalised; order does not matter.

    A member without a reading in this second stays a member and is left out of the sum, with the reason that
    `unread` gives, else `no_face`. With fewer readings than `minimum` there is no distribution.
    """
    read = sorted((r.participant, r.probabilities) for r in readings if r.probabilities is not None)
    excluded = {r.participant: unread.get(r.participant, "no_face") for r in readings if r.probabilities is None}
    members = tuple(r.participant for r in readings)
    engaged = tuple(r.participant for r in readings if r.probabilities is not None)
    if len(read) < max(2, settings.minimum):
        return GroupReading(second, members, engaged, excluded, None, (), {})
    total = np.sum([p for _, p in read], axis=0)
    probabilities = frozen_array(np.asarray(total / total.sum()))
    deviation = {participant: float(np.linalg.norm(p - probabilities)) for participant, p in read}
    return GroupReading(second, members, engaged, excluded, probabilities, dominant(probabilities, settings), deviation)
