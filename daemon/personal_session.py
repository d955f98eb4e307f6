"""What one session learns of its people: the best face of each second, what is said of it, and who reads whom."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Final, Self

from daemon.corrections import MAX_SPAN_S, Correction
from daemon.personal_files import BestFace, Files, Row
from daemon.session import SessionInfo, to_the_end
from daemon.trainer import rolled_back
from models.personal.buffer import Label
from models.personal.monitor import Harm, LiveMonitor
from models.personal.samples import Origin, Samples
from models.personal.serving import ServedHead
from models.personal.store import Version
from pipeline.emotions import F64
from pipeline.types import CallSecond, Event, FaceReading, FusedReading

if TYPE_CHECKING:
    from daemon.personal import Personalisation

SetHead = Callable[[str, ServedHead | None], None]
Sheet = Mapping[tuple[str, int], Label]
"""Labels that are known beforehand, by participant and second."""

MEMORY_S: Final = 60
"""Seconds whose best faces are kept in memory: a person needs time to say what they saw."""
MAX_PEOPLE: Final = 256
"""People of a session; beyond it those who were not seen for longest begin anew when they come back."""


@dataclass(slots=True, eq=False)
class Person:
    """Somebody in a session."""

    id: str
    is_stable: bool
    files: Files
    seen: dict[int, BestFace] = field(default_factory=dict)
    said: dict[int, Label] = field(default_factory=dict)
    """Of seconds that are not over."""
    head: str | None = None
    monitor: LiveMonitor | None = None

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is kept: erased, or consent denied."""
        return self.files.is_closed


class PersonalSession:
    """What one session learns of its participants: `async with PersonalSession(…) as personal`.

    Args:
        owner: Of all sessions.
        info: Which session.
        is_stable: Whether a participant's pseudonym means the same person in the next session.
        set_head: Has a head read a participant from the next second on; None: the generic ones.
        sheet: Labels that are known beforehand.
    """

    def __init__(
        self,
        owner: "Personalisation",
        *,
        info: SessionInfo,
        is_stable: Callable[[str], bool],
        set_head: SetHead,
        sheet: Sheet = MappingProxyType({}),
    ) -> None:
        self._owner = owner
        self._info = info
        self._is_stable = is_stable
        self._set_head = set_head
        self._sheet = sheet
        self._people: dict[str, Person] = {}
        self._untold: list[Callable[[float], Event]] = []
        self._last: int | None = None

    async def __aenter__(self) -> Self:
        self._owner.sessions.append(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await to_the_end(self._owner.leave(self, self._people.values()))

    def see(self, readings: Sequence[FaceReading]) -> None:
        """Keeps the better face of each second."""
        for reading in readings:
            person, second = self._person(reading.participant), int(reading.time_s // 1)
            if reading.evidence is None or person.is_closed:
                continue
            best = person.seen.get(second)
            if best is None or reading.quality > best.quality:
                person.seen[second] = BestFace(reading.quality, reading.evidence)
            while len(person.seen) > MEMORY_S:
                del person.seen[next(iter(person.seen))]

    async def second(self, second: CallSecond) -> Sequence[Event]:
        """Makes samples of what is labelled now; what has come of earlier ones."""
        self._last = second.second
        rows: dict[str, list[Row]] = {}
        for reading in second.readings:
            person = self._people.get(reading.participant)
            if person is None or person.is_closed:
                continue
            if second.second in person.seen:
                person.seen[second.second].reading = reading
            label = person.said.pop(second.second, None) or self._sheet.get((person.id, second.second))
            if label is not None:
                rows.setdefault(person.id, []).extend(self._labelled(person, second.second, label))
        for settled in second.settled:
            for told in settled.labels:
                person = self._people.get(told.participant)
                if person is not None and not person.is_closed:
                    label = Label(told.probabilities, told.confidence, Origin.GROUP)
                    rows.setdefault(person.id, []).extend(self._labelled(person, settled.second, label))
        for participant, of_one in rows.items():
            self._keep(self._people[participant], of_one)
        self._let_rest(second.second)
        await self._owner.settle()
        return self.untold(float(second.second))

    def untold(self, time_s: float) -> list[Event]:
        """What has come of trainings since the last second, told once; for whoever has no further second to tell it with."""
        events = [event(time_s) for event in self._untold]
        self._untold.clear()
        return events

    async def label(self, participant: str, correction: Correction) -> int:
        """A person's word: how many seconds it labels. Seconds to come are labelled when they have come.

        Raises:
            OSError: The disk refuses.
            ValueError: Nobody of this pseudonym was read here, or the seconds are too far away.
        """
        person = self._people.get(participant)
        if person is None or self._last is None:
            msg = f"{participant} was not read in this session, so there is nothing to label"
            raise ValueError(msg)
        if person.is_closed:
            msg = f"nothing is kept of {participant} in this session"
            raise ValueError(msg)
        first, last = correction.seconds or (self._last, self._last)
        if last > self._last + MAX_SPAN_S:
            msg = f"to: {last} is too far ahead; the last second is {self._last}"
            raise ValueError(msg)
        label = Label.of(correction.emotion, Origin.CORRECTION)
        ahead = range(max(first, self._last + 1), last + 1)
        person.said = {second: said for second, said in person.said.items() if second > self._last}
        person.said.update(dict.fromkeys(ahead, label))
        rows: list[Row] = []
        for second in range(first, min(last, self._last) + 1):
            rows += self._labelled(person, second, label)
        self._keep(person, rows)
        known = {second for second, _, _ in rows}
        early = [second for second in range(first, min(last, self._last) + 1) if second not in known]
        n_early = await self._owner.do(lambda: person.files.relabel(early, label)) if early else 0
        return len(ahead) + len(rows) + n_early

    def allow(self, participant: str) -> None:
        """Consent was given, again perhaps: gathering begins anew."""
        person = self._people.get(participant)
        if person is not None and person.is_closed:
            del self._people[participant]

    def deny(self, participant: str) -> None:
        """Consent was denied: faces that were seen become no samples any more."""
        person = self._people.get(participant)
        if person is not None:
            person.seen.clear()
            person.said.clear()

    # What the owner calls

    def stable(self, participant: str) -> Person | None:
        """Somebody here whose pseudonym means the same person elsewhere."""
        person = self._people.get(participant)
        return person if person is not None and person.is_stable and not person.is_closed else None

    def close_person(self, participant: str) -> Person | None:
        """Keeps nothing more of somebody; the generic heads read them."""
        person = self._people.get(participant)
        if person is not None:
            self.deny(participant)
            person.files.is_closed = True
            self.unserve(person)
        return person

    def serve(self, person: Person, learner: object, version: Version) -> None:
        """A version reads this person from the next second on, and is watched."""
        if not person.is_closed:
            person.head = version.name
            person.monitor = LiveMonitor.of(version.name, version.verdict, settings=self._owner.settings.monitor)
            self._set_head(person.id, self._owner.kit.serve(learner, version.name))

    def unserve(self, person: Person) -> None:
        """The generic heads read this person from the next second on."""
        person.head = person.monitor = None
        self._set_head(person.id, None)

    def tell(self, event: Callable[[float], Event]) -> None:
        """Is told with the next second."""
        self._untold.append(event)

    # Details

    def _person(self, participant: str) -> Person:
        person = self._people.pop(participant, None)
        if person is None:
            if len(self._people) >= MAX_PEOPLE:
                longest_gone = self._people.pop(next(iter(self._people)))
                longest_gone.files.is_closed = True
                self.unserve(longest_gone)
                self._owner.hand(longest_gone.files.close, must=True)
            person = self._new(participant)
            if person.is_stable:
                self._owner.hand(person.files.current, partial(self._loaded, person), must=True)
        # Whoever is seen stands at the end.
        self._people[participant] = person
        return person

    def _let_rest(self, second: int) -> None:
        """Whoever was not seen for a while has no file open and no face in memory: most never come back."""
        for person in self._people.values():
            if person.seen and next(reversed(person.seen)) < second - MEMORY_S:
                person.seen.clear()
                self._owner.hand(person.files.rest, must=True)

    def _labelled(self, person: Person, second: int, label: Label) -> list[Row]:
        """The row of a second, where its face is known; and what the label says of the head that read it."""
        best = person.seen.get(second)
        if best is None or (best.is_human and not label.human):
            return []
        best.is_human = label.human
        reading, monitor = best.reading, person.monitor
        if monitor is not None and reading is not None and reading.arms.heads.pixel == person.head:
            harm = self._harm(second, reading, label.target, monitor, human=label.human)
            if harm is not None:
                self._roll_back(person, harm)
        return [(second, best, label)]

    def _harm(
        self, second: int, reading: FusedReading, target: F64, monitor: LiveMonitor, *, human: bool
    ) -> Harm | None:
        if reading.probabilities is None or reading.generic is None:
            return None
        time_s = self._info.stamp.epoch_s(second)
        return monitor.add(time_s, personal=reading.probabilities, generic=reading.generic, target=target, human=human)

    def _roll_back(self, person: Person, harm: Harm) -> None:
        """A head does harm: the generic ones serve, and it never does again."""
        for where, who in self._owner.bearers(self, person):
            if who.head == harm.version:
                where.unserve(who)
        self._owner.count("rolled_back")
        self.tell(partial(rolled_back, person.id, harm))
        self._owner.hand(partial(person.files.roll_back, harm), must=True)

    def _new(self, participant: str) -> Person:
        owner, is_stable = self._owner, self._is_stable(participant)
        files = Files(
            participant,
            is_stable=is_stable,
            people=owner.people,
            kit=owner.kit,
            settings=owner.settings,
            time_of=self._info.stamp.epoch_s,
        )
        return Person(participant, is_stable, files)

    def _loaded(self, person: Person, found: tuple[object, Version] | None) -> None:
        if found is not None:
            self.serve(person, *found)

    def _keep(self, person: Person, rows: Sequence[Row]) -> None:
        if rows:
            self._owner.hand(partial(person.files.add, rows), partial(self._added, person))

    def _added(self, person: Person, samples: Samples | None) -> None:
        if samples is not None:
            self._owner.submit(self, person, samples)
