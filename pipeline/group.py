"""Members → the group: synthesis, deviation, dominant emotions (GROUP, section 4.2)."""

from collections.abc import Collection, Mapping, Sequence
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
    unengaged: Collection[str] = (),
) -> GroupReading:
    """The group's distribution: the sum of its members' distributions, normalised; order does not matter.

    Whoever is left out of the sum stays a member. Without a reading in this second the reason is what `unread` gives,
    else `no_face`; the `unengaged` are left out because the group does not move them (GROUP, section 5). With fewer
    than `minimum` left there is no distribution.
    """
    excluded = {r.participant: unread.get(r.participant, "no_face") for r in readings if r.probabilities is None}
    excluded |= {
        r.participant: "unengaged" for r in readings if r.participant in unengaged and r.probabilities is not None
    }
    read = {r.participant: p for r in readings if (p := r.probabilities) is not None and r.participant not in excluded}
    members, engaged = tuple(r.participant for r in readings), tuple(read)
    if len(read) < max(2, settings.minimum):
        return GroupReading(second, members, engaged, excluded, None, (), {})
    names = sorted(read)
    rows = np.array([read[who] for who in names])
    probabilities = _normalised_sum(rows)
    deviation = dict(zip(names, np.linalg.norm(rows - probabilities, axis=1).tolist(), strict=True))
    return GroupReading(second, members, engaged, excluded, probabilities, dominant(probabilities, settings), deviation)


def mean_distribution(distributions: Mapping[str, F64 | None], settings: GroupSettings = DEFAULT_GROUP) -> F64 | None:
    """(7,) sum of the distributions of those that have one, normalised; None where they are fewer than `minimum`."""
    rows = [row for _, row in sorted(distributions.items()) if row is not None]
    if len(rows) < max(2, settings.minimum):
        return None
    return _normalised_sum(np.array(rows))


def _normalised_sum(rows: F64) -> F64:
    """(7,) sum of (n, 7) distributions, normalised."""
    total = rows.sum(axis=0)
    return frozen_array(np.asarray(total / total.sum()))
