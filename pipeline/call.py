"""One call, second by second: readings of frames in, everything that is known of a second out."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.changes import DEFAULT_CHANGES, ChangeCounter, ChangeDetector, ChangeScopes, ChangeSettings
from pipeline.fusion import DEFAULT_FUSION, AdaptiveWeights, FusionSettings, fuse
from pipeline.gallery import same_layout
from pipeline.group import DEFAULT_GROUP, GroupSettings, synthesise
from pipeline.seconds import SecondAggregator
from pipeline.types import Box, CallSecond, Event, FaceReading, FusedReading, SecondReading

Tiles = tuple[tuple[str, Box], ...]
NOBODY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class CallSettings:
    """What a call needs to know: rate of analysis, lateness allowed, and the constants of each algorithm."""

    rate_hz: float = 5.0
    grace_s: float = 0.2
    fusion: FusionSettings = DEFAULT_FUSION
    changes: ChangeSettings = DEFAULT_CHANGES
    group: GroupSettings = DEFAULT_GROUP


DEFAULT_CALL = CallSettings()


class Call:
    """State of one call between its frames; knows no clock, `time_s` comes with what it is given.

    `look` and `add` take what was seen, `advance` returns the seconds that are over, `finish` the rest.
    """

    def __init__(self, settings: CallSettings = DEFAULT_CALL) -> None:
        self._settings = settings
        self._seconds = SecondAggregator(rate_hz=settings.rate_hz, grace_s=settings.grace_s)
        self._weights = AdaptiveWeights(settings.fusion)
        self._detectors: dict[str, ChangeDetector] = {}
        self._counter = ChangeCounter(settings.changes)
        self._scopes = ChangeScopes(settings.changes)
        self._members: tuple[str, ...] = ()
        # Who has had a face while changes that are settled now came to be: looking away for a second is no leaving.
        self._engaged: deque[frozenset[str]] = deque(maxlen=2 * settings.changes.together_s + settings.changes.hold)
        self._looks: dict[int, tuple[Tiles, dict[str, str]]] = {}
        self._unread: dict[str, str] = {}
        self._tiles: Tiles = ()
        self._first: int | None = None

    @property
    def n_late(self) -> int:
        """Readings that came after their second had closed."""
        return self._seconds.n_late

    def look(
        self, time_s: float, members: tuple[str, ...], tiles: Tiles = (), unread: Mapping[str, str] = NOBODY
    ) -> None:
        """What was to be seen at that time.

        Args:
            time_s: When.
            members: Everybody who is in the call, to be seen or not.
            tiles: Participants and their tiles, where a gallery shows them.
            unread: Who is not to be read, and why: `no_consent`, `not_identified`.
        """
        self._seconds.present(time_s, members)
        self._looks[int(time_s)] = (tiles, dict(unread))

    def explain(self, time_s: float, reasons: Mapping[str, str]) -> None:
        """Why participants whom `look` has shown could not be read, such as `small_face`."""
        if reasons and int(time_s) in self._looks:
            self._looks[int(time_s)][1].update(reasons)

    def add(self, reading: FaceReading) -> bool:
        """Takes a reading of a participant whom `look` has shown; False when it is too late."""
        return self._seconds.add(reading)

    def advance(self, now_s: float) -> list[CallSecond]:
        """Seconds that are over at `now_s`, oldest first."""
        return [self._second(second, readings) for second, readings in self._seconds.advance(now_s)]

    def finish(self, end_s: float) -> tuple[list[CallSecond], tuple[Event, ...]]:
        """The seconds that were still open, and the events that were still waiting for more to come."""
        seconds = [self._second(second, readings) for second, readings in self._seconds.finish(end_s)]
        return seconds, tuple(self._scopes.finish(frozenset().union(*self._engaged)))

    def _second(self, second: int, arms: tuple[SecondReading, ...]) -> CallSecond:
        """Closes one second."""
        if self._first is None:
            self._first = second
        events = self._presence(second, tuple(reading.participant for reading in arms))
        readings = tuple(
            fuse(reading, self._weights.landmark(reading.participant), self._settings.fusion) for reading in arms
        )
        group = synthesise(second, readings, self._settings.group, self._unread)
        self._engaged.append(frozenset(group.engaged))
        events += self._changes(second, readings)
        if self._weights.due(second - self._first + 1):
            # Nobody is known to be unengaged yet, so everybody counts, also who is out of sight just now.
            self._weights.update(self._counter.per_minute(second), group.members)
        return CallSecond(second, readings, group, tuple(events), self._tiles)

    def _presence(self, second: int, members: tuple[str, ...]) -> list[Event]:
        """Who came, who left, and whether the layout changed."""
        time_s = float(second)
        events = [Event("participant_joined", time_s, (p,)) for p in members if p not in self._members]
        events += [Event("participant_left", time_s, (p,)) for p in self._members if p not in members]
        self._members = members
        before, (self._tiles, self._unread) = self._tiles, self._looks.pop(second, ((), self._unread))
        for stale in [s for s in self._looks if s < second]:
            del self._looks[stale]
        if before and self._tiles and not _same(before, self._tiles):
            events.append(Event("layout_changed", time_s, (), {"tiles": len(self._tiles)}))
        return events

    def _changes(self, second: int, readings: tuple[FusedReading, ...]) -> list[Event]:
        """Counts changes of expression and returns those whose scope is decided."""
        confirmed = []
        for reading in readings:
            participant = reading.participant
            detector = self._detectors.setdefault(participant, ChangeDetector(participant, self._settings.changes))
            change = detector.add(second, reading.probabilities)
            covered = reading.probabilities is not None
            self._counter.add(second, participant, covered=covered, changed=change is not None)
            if change is not None:
                confirmed.append(change)
        self._scopes.add(confirmed)
        return self._scopes.settle(second, frozenset().union(*self._engaged))


def _same(before: Tiles, after: Tiles) -> bool:
    """Whether the same people sit in about the same places."""
    names = [tuple(p for p, _ in tiles) for tiles in (before, after)]
    boxes = [tuple(box for _, box in tiles) for tiles in (before, after)]
    return names[0] == names[1] and same_layout(boxes[0], boxes[1])
