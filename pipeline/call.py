"""One call, second by second: readings of frames in, everything that is known of a second out."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from pipeline.afterwards import DEFAULT_AFTERWARDS, Afterwards, AfterwardsSettings
from pipeline.boxes import same_layout
from pipeline.cameras import Cameras
from pipeline.changes import ChangeCounter, ChangeDetectors
from pipeline.denoise import DEFAULT_DENOISE, DenoiseSettings, GroupDenoiser
from pipeline.fusion import DEFAULT_FUSION, AdaptiveWeights, FusionSettings, WeightRule, fuse_all
from pipeline.group import synthesise
from pipeline.learned_weights import LearnedWeights, WeightModel
from pipeline.polarisation import DEFAULT_POLARISATION, PolarisationSettings, Polariser
from pipeline.seconds import SecondAggregator
from pipeline.types import Box, CallSecond, Event, FaceReading, FusedReading, SecondReading

Tiles = tuple[tuple[str, Box], ...]
NOBODY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class CallSettings:
    """What a call needs to know: rate of analysis, lateness allowed, and the constants of each algorithm.

    learned: the model that weighs the arms (GROUP, section 7); None: the rule of GROUP, section 4.3.
    """

    rate_hz: float = 5.0
    grace_s: float = 0.2
    fusion: FusionSettings = DEFAULT_FUSION
    denoise: DenoiseSettings = DEFAULT_DENOISE
    polarisation: PolarisationSettings = DEFAULT_POLARISATION
    afterwards: AfterwardsSettings = DEFAULT_AFTERWARDS
    learned: WeightModel | None = None


DEFAULT_CALL = CallSettings()


def weight_rule(settings: CallSettings) -> WeightRule:
    """Who weighs the arms, in the beginning of a call."""
    if settings.learned is None:
        return AdaptiveWeights(settings.fusion)
    return LearnedWeights(settings.learned, fusion=settings.fusion)


@dataclass(frozen=True, slots=True)
class _Look:
    """What the last look of a second showed: tiles, who was not to be read and why, whose camera was off."""

    tiles: Tiles
    unread: dict[str, str]
    off: frozenset[str]


class Call:
    """State of one call between its frames; knows no clock, `time_s` comes with what it is given.

    `look` and `add` take what was seen, `advance` returns the seconds that are over, `finish` the rest. A reading goes
    out as it is; what is derived from it waits until it is known whether it was noise (GROUP, section 4.2).

    Args:
        settings: Of all algorithms.
        weights: How much each arm counts; None: as the settings say.
    """

    def __init__(self, settings: CallSettings = DEFAULT_CALL, weights: WeightRule | None = None) -> None:
        self._settings = settings
        self._seconds = SecondAggregator(rate_hz=settings.rate_hz, grace_s=settings.grace_s)
        self._weights = weights or weight_rule(settings)
        self._counter = ChangeCounter(settings.afterwards.changes)
        # Noise counts here: who reads noisier than the others leans on landmarks for it (GROUP, section 4.3).
        self._noisy = ChangeDetectors(settings.afterwards.changes)
        self._afterwards = Afterwards(settings.afterwards)
        self._denoiser = GroupDenoiser(settings.denoise)
        self._polariser = Polariser(settings.polarisation)
        self._members: tuple[str, ...] = ()
        self._cameras = Cameras()
        self._looks: dict[int, _Look] = {}
        self._unread: dict[str, str] = {}
        self._tiles: Tiles = ()
        self._first: int | None = None

    @property
    def n_late(self) -> int:
        """Readings that came after their second had closed."""
        return self._seconds.n_late

    def look(
        self,
        time_s: float,
        members: tuple[str, ...],
        tiles: Tiles = (),
        unread: Mapping[str, str] = NOBODY,
        off: Collection[str] = (),
    ) -> None:
        """What was to be seen at that time.

        Args:
            time_s: When.
            members: Everybody who is in the call, to be seen or not.
            tiles: Participants and their tiles, where a gallery shows them.
            unread: Who is not to be read, and why: `no_consent`, `not_identified`.
            off: Who shows no picture of a camera.
        """
        self._seconds.present(time_s, members)
        self._looks[int(time_s)] = _Look(tiles, dict(unread), frozenset(off))

    def explain(self, time_s: float, reasons: Mapping[str, str]) -> None:
        """Why participants whom `look` has shown could not be read, such as `small_face`."""
        if reasons and int(time_s) in self._looks:
            self._looks[int(time_s)].unread.update(reasons)

    def add(self, reading: FaceReading) -> bool:
        """Takes a reading of a participant whom `look` has shown; False when it is too late."""
        return self._seconds.add(reading)

    def forget(self, participant: str) -> int:
        """Takes what was read of a participant in seconds that are not over away; how many readings that were."""
        return self._seconds.forget(participant)

    def advance(self, now_s: float) -> list[CallSecond]:
        """Seconds that are over at `now_s`, oldest first."""
        return [self._second(second, readings) for second, readings in self._seconds.advance(now_s)]

    def finish(self, end_s: float) -> tuple[list[CallSecond], tuple[Event, ...]]:
        """The seconds that were still open, and the events that were still waiting for more to come.

        The last of these seconds has with it what settles only because the call is over; where no second was open,
        that is lost with nobody to tell it to.
        """
        seconds = [self._second(second, readings) for second, readings in self._seconds.finish(end_s)]
        settled, events = self._afterwards.finish()
        if seconds:
            seconds[-1] = replace(seconds[-1], settled=(*seconds[-1].settled, *settled))
        return seconds, tuple(events)

    def _second(self, second: int, arms: tuple[SecondReading, ...]) -> CallSecond:
        """Closes one second."""
        self._first = second if self._first is None else self._first
        events = self._presence(second, arms)
        weights = [self._weights.landmark(reading.participant) for reading in arms]
        readings = fuse_all(arms, weights, self._settings.fusion)
        # What personal heads show would pull everybody together: who moves with whom is for the generic heads to say.
        generic = {reading.participant: reading.by_generic for reading in readings}
        shown = {reading.participant: reading.probabilities for reading in readings}
        personal = {reading.participant: reading.probabilities for reading in readings if reading.generic is not None}
        settled, happened = self._afterwards.add(second, generic, personal)
        unengaged = self._afterwards.unengaged
        group = synthesise(second, readings, self._settings.afterwards.group, self._unread, unengaged)
        for known in settled:
            self._denoiser.amend(known.second, known.group)
        apart = self._afterwards.apart
        in_group = {who: row for who, row in shown.items() if row is not None and who not in apart}
        polarisation, split = self._polariser.add(second, in_group if self._afterwards.sides else {})
        group = replace(
            group,
            denoised=self._denoiser.add(second, group.probabilities),
            polarisation=polarisation,
            engagement=self._afterwards.engagement,
        )
        self._adapt(second, second - self._first + 1, readings, [who for who in group.members if who not in unengaged])
        return CallSecond(second, readings, group, (*events, *happened, *split), self._tiles, tuple(settled))

    def _adapt(self, second: int, elapsed_s: int, readings: tuple[FusedReading, ...], engaged: Collection[str]) -> None:
        """Counts changes of expression, and updates the weights where it is time."""
        gone = [who for who in self._noisy.known() if not self._afterwards.knows(who)]
        self._noisy.forget(gone)
        for who in gone:
            self._counter.forget(who)
            self._weights.forget(who)
        rows = {reading.participant: reading.by_generic for reading in readings}
        changed = {change.participant for change in self._noisy.add(second, rows)}
        self._counter.add(second, [who for who, row in rows.items() if row is not None], changed)
        self._weights.observe(second, [reading.arms for reading in readings])
        if self._weights.due(elapsed_s):
            self._weights.update(self._counter.per_minute(second), engaged)

    def _presence(self, second: int, arms: tuple[SecondReading, ...]) -> list[Event]:
        """Who came, who left, whether the layout changed, and whose camera went off or on."""
        time_s, members = float(second), tuple(reading.participant for reading in arms)
        here, there = frozenset(members), frozenset(self._members)
        events = [Event("participant_joined", time_s, (p,)) for p in members if p not in there]
        events += [Event("participant_left", time_s, (p,)) for p in self._members if p not in here]
        self._members = members
        before, look = self._tiles, self._looks.pop(second, None)
        self._tiles = look.tiles if look else ()
        self._unread = look.unread if look else self._unread
        for stale in [s for s in self._looks if s < second]:
            del self._looks[stale]
        if before and self._tiles and not _same(before, self._tiles):
            events.append(Event("layout_changed", time_s, (), {"tiles": len(self._tiles)}))
        if look:
            read = [reading.participant for reading in arms if reading.n_frames]
            events += self._cameras.add(second, members, look.off, read)
        return events


def _same(before: Tiles, after: Tiles) -> bool:
    """Whether the same people sit in about the same places."""
    names = [tuple(p for p, _ in tiles) for tiles in (before, after)]
    boxes = [tuple(box for _, box in tiles) for tiles in (before, after)]
    return names[0] == names[1] and same_layout(boxes[0], boxes[1])
