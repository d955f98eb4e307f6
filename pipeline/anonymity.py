"""What is left of a second, and of events, where only the group is told and nothing of an individual."""

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from pipeline.types import CallSecond, Event, GroupReading, Polarisation

OF_NOBODY: Final = frozenset(
    [
        "session_started",
        "session_ended",
        "source_lost",
        "source_recovered",
        "participant_joined",
        "participant_left",
        "camera_off",
        "camera_on",
        "layout_changed",
        "consent_changed",
    ]
)
"""Kinds of events that say nothing of what anybody expresses: who is there and who agreed is no reading."""
OF_THE_GROUP: Final = frozenset(["change", "group_type_changed", "polarised"])
"""Kinds that are told without names, while enough faces are read; `change` only where it is the group's."""


def is_large(second: CallSecond, minimum: int) -> bool:
    """Whether so many faces went into the group's distribution that it says little of each."""
    return second.group.probabilities is not None and len(second.group.engaged) >= minimum


def group_only(second: CallSecond, minimum: int) -> CallSecond:
    """The second without anything of an individual: no readings, and of the group what tells nobody from the others.

    Members keep their pseudonyms, for who is in a call is no reading. Who was summed, who was left out and why, who
    is how far from the others or moves with them is not told, only how many were summed. Of fewer than `minimum`
    summed faces nothing is told.

    One thing cannot be taken away: when the sum loses somebody, the seconds before and after tell a little of them.
    """
    group, large = second.group, is_large(second, minimum)
    bare = GroupReading(group.second, group.members, (), MappingProxyType({}), None, (), MappingProxyType({}))
    if large:
        split = group.polarisation
        bare = replace(
            bare,
            probabilities=group.probabilities,
            dominant=group.dominant,
            denoised=group.denoised,
            polarisation=None if split is None else Polarisation((), split.distance),
            engagement=replace(group.engagement, members=()),
            n_unnamed=len(group.engaged),
        )
    settled = tuple(
        replace(known, distributions=MappingProxyType({}), group=known.group if large else None, labels=())
        for known in second.settled
    )
    events = tuple(group_only_events(second.events, large=large))
    return replace(second, readings=(), group=bare, events=events, settled=settled)


def group_only_events(events: Iterable[Event], *, large: bool) -> list[Event]:
    """The events that may be told; `large`: whether enough faces are read for the group's own."""
    told = []
    for event in events:
        if event.kind in OF_NOBODY:
            told.append(event)
        elif large and event.kind in OF_THE_GROUP and event.data.get("scope", "group") == "group":
            data = {key: [] if key == "clusters" else value for key, value in event.data.items()}
            told.append(replace(event, participants=(), data=data))
    return told
