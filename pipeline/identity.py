"""Tiles → stable pseudonyms: in an unchanged layout the place decides, through a re-flow what a tile looks like.

Nothing here knows a face: see `pipeline.appearance`. Whoever looks for consent takes a seat that is not `certain` as
somebody not known.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from pipeline.appearance import (
    SAME_SHAPE,
    Looks,
    compare,
    join,
    likeness,
    look_at,
    matched,
    same_camera,
    same_middle,
    same_person,
    without_camera,
)
from pipeline.captions import Strokes, common, strokes_of
from pipeline.emotions import F64
from pipeline.gallery import iou
from pipeline.types import U8, Box

WALL = 10_000
"""Width and height of the picture on which places are kept: a change of resolution is no re-flow."""
TURNS = 5
"""At each picture every so manieth person is remembered anew: everybody about once a second."""
ALL_AT_ONCE = 3
"""So many pictures, if they are half of all, do not jump at once by chance: other people are shown."""
NOTHING_NEW = 0.9
"""Concordance with a remembered picture from which on there is nothing new to remember."""
CUT_ANEW = 0.5
"""Overlap from which on a rectangle is another way to cut out the same tile."""
WITHIN = 0.9
"""Share of the smaller rectangle that lies in the larger when a tile was split in two, or two joined."""
PART, PART_IOU = 0.75, 0.02
"""What the picture at the old place is worth to a part of it, or to what it is a part of; the overlap breaks ties."""
SAME_PLACE = 0.85
"""Overlap from which on two rectangles are one place, but for a few pixels, such as a speaker's border."""


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """When a tile shows the same camera as another did.

    Measured with 26 filmed people, 5 sessions and 76 stills, some before shared backgrounds, in pairs of layouts of 2
    to 49 tiles of 90 to 900 px, cropped or letterboxed, JPEG 35-75, rectangles 1.5 % wrong. The concordance of the
    same person 0.2 s later (a still moved by 2-3 %): median 0.91, 5 % below 0.63, 1 % below 0.49. Of another of 107
    people: median 0.22, 10 % above 0.47, 1 % above 0.68; before the same background 1 % above 0.8 to 0.9. The same
    person seconds later: median 0.89, lower quartile 0.77. The best assignment was right for 99.9 % (1905 tiles).
    From picture to picture in an unchanged tile (0.2 s): 1 % below 0.56, 0.1 % below 0.12, nearly all cuts in films.

    present: concordance from which on somebody who was just here is found again.
    present_same: the same where the tile has the shape that it had, so that the picture is cropped as it was.
    absent: the same for somebody who left before: their room may be somebody else's by now.
    doubt: where people look like anybody of before no better than this in the median, it may be another page of people:
        among 34 strangers the best match is 0.75 by chance.
    doubt_sure: `sure` then. Below a median of `sure` it is another page, and `present` is as much.
    sure: concordance from which on a match may be certain.
    margin: by how much a certain match is better than any other of that tile and of that person.
    place: what being where it was adds to the concordance of a match.
    jump: concordance with the picture before below which something else may be shown all of a sudden.
    swap: concordance of the picture of somebody else from which on people in an unchanged layout changed places.
    jump_middle, jump_slight: the same, as tiles come and go, for the correlation of the middles together with the
        concordance.
    other: concordance with all that is known of somebody, and correlation of the middles, below which a picture that
        jumped is of somebody else.
    other_room: the same for the concordance as tiles come and go.
    renamed: what captions have in common below which another name stands there: of the same people, as others moved,
        1 % were below 0.53 (71); of those who came in their places half below 0.29 (119; `pipeline.captions`).
    jump_renamed: concordance with the picture before below which somebody else may be shown, where the name is another.
    still: concordance within a second from which on a picture stands still enough to say so.
    gain: how much better than that of who sat there it must be.
    lately_s: how long after they were seen last people count as just here.
    settle_s: how long after a re-flow, or a jump, a match may be mended before it counts.
    look_back_s: how old the pictures are with which those after a re-flow are compared, besides the last.
    n_pictures: how many pictures are remembered of everybody, the latest.
    n_people: how many people are remembered; who has been gone for longest is forgotten.
    """

    present: float = 0.55
    present_same: float = 0.7
    absent: float = 0.75
    sure: float = 0.7
    margin: float = 0.08
    place: float = 0.05
    doubt: float = 0.85
    doubt_sure: float = 0.92
    jump: float = 0.3
    swap: float = 0.75
    gain: float = 0.2
    other: float = 0.5
    other_room: float = 0.7
    renamed: float = 0.4
    jump_renamed: float = 0.75
    jump_middle: float = 0.3
    jump_slight: float = 0.6
    still: float = 0.75
    lately_s: float = 3.0
    settle_s: float = 0.8
    look_back_s: float = 1.2
    n_pictures: int = 4
    n_people: int = 128


DEFAULT_IDENTITY = IdentitySettings()


@dataclass(frozen=True, slots=True)
class Seat:
    """Who sits in a tile.

    participant: the pseudonym.
    xyxy: the tile.
    certain: False where it is not known, or not known yet, whether this is the same person as before.
    has_camera: False where the tile shows one colour around a name, as it does while the camera is off.
    assumed: how often it has been taken for granted so far that it is, after time had not shown it: what this person
        allowed before the last time may have been somebody else's word.
    """

    participant: str
    xyxy: Box
    certain: bool
    assumed: int = 0
    has_camera: bool = True


def pseudonym(seed: str, index: int) -> str:
    """`p-` and eight hexadecimal digits for the index-th participant to appear in the session of `seed`."""
    return "p-" + sha256(f"{seed}:{index}".encode()).hexdigest()[:8]


class _Person:
    """Somebody and how their tile looked: lately, and the pictures to remember them by."""

    __slots__ = ("assumed", "box", "keys", "name", "recent", "seen_s")

    def __init__(self, name: str, n_pictures: int) -> None:
        self.name = name
        self.assumed = 0
        self.box: Box = (0, 0, 0, 0)
        self.recent: deque[tuple[float, Looks]] = deque(maxlen=64)
        self.keys: deque[Looks] = deque(maxlen=n_pictures)
        self.seen_s = 0.0

    def see(self, time_s: float, look: Looks, box: Box, look_back_s: float) -> None:
        """One more picture, and where it is; of those before, as many as reach back that far are kept."""
        self.recent.append((time_s, look))
        self.seen_s, self.box = time_s, box
        while len(self.recent) > 2 and self.recent[1][0] <= time_s - look_back_s:  # noqa: PLR2004 (oldest and newest)
            self.recent.popleft()

    def lately(self) -> list[Looks]:
        """The newest picture and the oldest of the recent ones."""
        return [self.recent[-1][1], self.recent[0][1]]

    def keep(self) -> None:
        """Remembers the oldest of the recent pictures, where it is not like those that are remembered already."""
        _, look = self.recent[0]
        if not self.keys or compare(look, [list(self.keys)], likeness)[0, 0] < NOTHING_NEW:
            self.keys.append(look)

    def part(self) -> None:
        """The layout these pictures are of is over."""
        self.keep()
        while len(self.recent) > 1:
            self.recent.pop()

    def known_before(self) -> list[Looks]:
        """All pictures but the newest: the first of somebody else who comes slowly, as a tile that grows, may be that."""
        return [self.recent[0][1], *self.keys]

    def known_by(self) -> list[Looks]:
        """All pictures worth comparing, the newest first."""
        return [*self.lately(), *self.keys]


@dataclass(slots=True, eq=False)
class _Place:
    """A tile of the layout as it stands.

    since_s: when it came to be uncertain who sits here; None while it is certain.
    look: what the tile looked like then.
    has_camera: see `Seat`; looked at about once a second.
    stirred: it came to be uncertain as the layout changed, or tiles came and went: then others may sit here.
    captions: what was written there the last times that was looked at, about a second apart, the latest last.
    jumped: what was written there as it came to be uncertain.
    """

    person: _Person
    box: Box
    since_s: float | None
    look: Looks | None = None
    has_camera: bool = True
    stirred: bool = False
    captions: tuple[Strokes, ...] = ()
    jumped: Strokes | None = None


class TileIdentity:
    """Gives every tile its participant; a new one gets the next pseudonym in order of appearance, top left first.

    After a re-flow everybody of the last pictures before is looked for among the tiles. Whoever is found beyond doubt
    is certain at once; the others are looked for again for `settle_s`, and who is not found then is new. Whoever
    leaves is remembered by their pictures. Two people who change places in an unchanged layout are noticed by their
    pictures, which jump at once, each to where the other was.

    Args:
        seed: Makes the pseudonyms.
        settings: When two pictures are of one camera.
        fixed: Participants of tiles that are given by configuration, by the tile's index.
    """

    def __init__(
        self, seed: str, settings: IdentitySettings = DEFAULT_IDENTITY, fixed: Mapping[int, str] | None = None
    ) -> None:
        self.n_forgotten = 0
        """How many people were forgotten, since more were remembered than may be."""
        self._seed = seed
        self._settings = settings
        self._fixed = dict(fixed or {})
        self._n_known = 0
        self._people: dict[str, _Person] = {}
        self._places: list[_Place] = []
        self._interrupted = False
        self._lately: set[str] = set()
        self._flipped = self._doubted = self._stirred = False
        self._turn = 0

    def update(
        self, image: U8, tiles: Sequence[Box], time_s: float, *, settled: bool, stirred: bool = False
    ) -> tuple[Seat, ...]:
        """Who sits in each tile of an (H, W, 3) uint8 picture, in the tiles' order, nobody twice.

        `stirred` says that the picture did not fit the layout a moment ago, though it does again.

        `settled` False says that the picture does not show this layout, or not yet: then nobody is certain and
        nothing is learned from the picture.
        """
        free = [i for i in range(len(tiles)) if i not in self._fixed]
        height, width = image.shape[:2]
        boxes = [_on_wall(tiles[i], (width, height)) for i in free]
        if settled:
            self._stirred = stirred
            self._look(image, [tiles[i] for i in free], boxes, time_s)
            who = [(place.person.name, place.since_s is None) for place in self._places]
        else:
            who = [(name, False) for name in self._held(boxes)]
        self._interrupted = not settled
        found = dict(zip(free, who, strict=True)) | {i: (name, settled) for i, name in self._fixed.items()}
        assumed = {place.person.name: place.person.assumed for place in self._places}
        off = {place.person.name for place in self._places if not place.has_camera}
        return tuple(
            Seat(name, tile, certain, assumed.get(name, 0), has_camera=name not in off)
            for tile, (name, certain) in zip(tiles, (found[i] for i in range(len(tiles))), strict=True)
        )

    def _look(self, image: U8, tiles: list[Box], boxes: list[Box], time_s: float) -> None:
        """Brings the places up to date with a picture that shows this layout."""
        looks = look_at(image, tiles)
        order = None if self._interrupted else _same_places(boxes, [place.box for place in self._places])
        if order is None:
            self._reflow(image, looks, boxes, time_s)
        else:
            self._places = [self._places[i] for i in order]
            self._stay(image, tiles, looks, boxes, time_s)
        for i, place in enumerate(self._places):
            # Enough time to mend what was uncertain is over: it counts as it is.
            if place.since_s is not None and time_s - place.since_s >= self._settings.settle_s:
                if self._replaced(place, looks.take([i]), strokes_of(image, tiles[i])):
                    place.person = self._newcomer()
                elif not self._is_new(place.person):
                    place.person.assumed += 1
                place.since_s, place.captions = None, ()
            new = self._is_new(place.person)
            if new and place.since_s is None:
                self._enter(place.person)
            # What is seen of somebody uncertain is not them before that is decided.
            if new or place.since_s is None:
                place.person.see(time_s, looks.take([i]), place.box, self._settings.look_back_s)
        # A few at each picture, everybody about once a second.
        turn = range(self._turn, len(self._places), TURNS)
        plain = without_camera(looks.take(turn))
        for i, is_plain in zip(turn, plain.tolist(), strict=True):
            place = self._places[i]
            place.has_camera = not is_plain
            if place.since_s is None:
                place.person.keep()
                place.captions = (*place.captions[-1:], strokes_of(image, tiles[i]))
        self._turn = (self._turn + 1) % TURNS

    def _replaced(self, place: _Place, look: Looks, caption: Strokes) -> bool:
        """Whether somebody else sits in a place since its picture jumped.

        The picture stood still before and stands still now, and neither the room nor what is in its middle is as it
        was; or another name stands there than before. Who had no camera on may look like anything.
        """
        person, settings = place.person, self._settings
        if place.look is None or self._is_new(person):
            return False
        known = person.known_before() if place.stirred else person.known_by()
        if place.jumped is not None and self._renamed(place, place.jumped, caption):
            return not without_camera(known[0])[0]
        newest, oldest = person.lately()
        still = likeness(place.look, look)[0, 0]
        if not place.stirred:
            still = min(still, likeness(newest, oldest)[0, 0])
        return bool(
            not without_camera(known[0])[0]
            and still >= settings.still
            and compare(look, [known], same_camera)[0, 0] < (settings.other_room if place.stirred else settings.other)
            and compare(look, [known], same_middle)[0, 0] < settings.other
        )

    def _renamed(self, place: _Place, now: Strokes, later: Strokes) -> bool:
        """Whether another name stands in a place than the last times it was looked at, in two pictures."""
        if len(place.captions) < 2:  # noqa: PLR2004 (what stands still takes two)
            return False
        shared = common((place.captions[0], place.captions[1]), (now, later))
        return shared is not None and shared < self._settings.renamed

    def _is_new(self, person: _Person) -> bool:
        """Whether somebody may still turn out to be one who is known."""
        return person.name not in self._people

    def _enter(self, person: _Person) -> None:
        """Remembers somebody from now on; forgets who has been gone for longest when there are too many."""
        self._people[person.name] = person
        seated = {place.person.name for place in self._places}
        gone = sorted((other.seen_s, name) for name, other in self._people.items() if name not in seated)
        for _, name in gone[: max(0, len(self._people) - self._settings.n_people)]:
            del self._people[name]
            self.n_forgotten += 1

    def _newcomer(self) -> _Person:
        """The next participant to appear."""
        while (name := pseudonym(self._seed, self._n_known)) in self._fixed.values():
            self._n_known += 1
        self._n_known += 1
        return _Person(name, self._settings.n_pictures)

    def _held(self, boxes: list[Box]) -> list[str]:
        """Who sat where these tiles are; for the others the pseudonyms they would get as new participants."""
        left = list(self._places)
        names: list[str] = []
        for box in boxes:
            best = max(left, key=lambda place: iou(place.box, box), default=None)
            if best is not None and iou(best.box, box) >= CUT_ANEW:
                left.remove(best)
                names.append(best.person.name)
            else:
                names.append("")
        spare = (pseudonym(self._seed, self._n_known + k) for k in range(len(names) + len(self._fixed)))
        new = (name for name in spare if name not in self._fixed.values())
        return [name or next(new) for name in names]

    def _stay(self, image: U8, tiles: list[Box], looks: Looks, boxes: list[Box], time_s: float) -> None:
        """One more picture of the layout as it stands: whoever sits there stays, unless pictures changed places."""
        settings = self._settings
        if not self._places:
            return
        people = [place.person for place in self._places]
        lately = [person.lately() for person in people]
        alike, middles = compare(looks, lately, likeness), compare(looks, lately, same_middle)
        own = alike.diagonal()
        slight = self._stirred & (own < settings.jump_slight) & (middles.diagonal() < settings.jump_middle)
        jumped = np.flatnonzero((own < settings.jump) | slight).tolist()
        if len(jumped) >= max(ALL_AT_ONCE, len(people) / 2):
            self._reflow(image, looks, boxes, time_s)
            return
        moved = sorted({*_moved(alike, settings), *_moved(middles, settings)})
        if len(jumped) > 1 or moved:
            # Whoever shows what another showed, and that is where the tile lies, is not found by another crop.
            whole = np.where(np.isin(np.arange(len(people)), moved), own, 1.0)
            rows = sorted({*jumped, *moved})
            self._exchange(looks, rows, whole[rows], time_s)
        # Who switched the camera off is nobody else, and there is nobody to be read.
        plain = without_camera(looks)
        for i in np.flatnonzero((own < settings.jump_renamed) & ~plain).tolist():
            place = self._places[i]
            if place.person is people[i] and place.since_s is None:
                caption = strokes_of(image, tiles[i])
                if i in jumped or self._renamed(place, caption, caption):
                    place.since_s, place.look, place.stirred = time_s, looks.take([i]), self._stirred
                    place.jumped = caption
        doubtful = [i for i, place in enumerate(self._places) if place.since_s is not None]
        if doubtful:
            self._mend(looks, doubtful, time_s)

    def _exchange(self, looks: Looks, rows: list[int], whole: F64, time_s: float) -> None:
        """Some pictures of an unchanged layout jumped at once: who is where another of them was?

        whole: (rows,) how much each is at most as it was.
        """
        settings = self._settings
        people = [self._places[i].person for i in rows]
        alike = compare(looks.take(rows), [person.known_by() for person in people], same_person)
        np.fill_diagonal(alike, np.minimum(whole, alike.diagonal()))
        own = alike.diagonal()
        wanted, clear = matched(
            alike,
            settings.gain * np.eye(len(rows)),
            np.full(alike.shape, settings.swap),
            settings.sure,
            settings.margin,
        )
        taken = {k: int(j) for k, j in enumerate(wanted) if j not in (-1, k) and alike[k, j] - own[k] >= settings.gain}
        for k, i in enumerate(rows):
            if k in taken:
                self._seat(i, people[taken[k]], None if clear[k] else time_s)
            elif k in taken.values():
                self._seat(i, self._newcomer(), time_s)

    def _mend(self, looks: Looks, rows: list[int], time_s: float) -> None:
        """Looks once more for those whose seats are uncertain, among everybody who has no certain seat."""
        settings = self._settings
        sure = {place.person.name for place in self._places if place.since_s is None}
        doubted = {self._places[i].person.name: i for i in rows}
        people = [person for name, person in self._people.items() if name not in sure]
        if not people:
            return
        stirred = any(self._places[i].stirred for i in rows)
        known = [person.known_before() if stirred else person.known_by() for person in people]
        alike = compare(looks.take(rows), known, same_person if stirred else same_camera)
        held = np.array([[doubted.get(person.name) == i for person in people] for i in rows])
        wanted, clear = matched(
            alike, settings.gain * held, self._accept(looks.take(rows), people), self._sure(), settings.margin
        )
        taken = {k: int(j) for k, j in enumerate(wanted) if j >= 0}
        for k, i in enumerate(rows):
            place = self._places[i]
            if k in taken:
                if people[taken[k]] is not place.person or clear[k]:
                    self._seat(i, people[taken[k]], None if clear[k] else place.since_s)
            elif any(people[j] is place.person for j in taken.values()):
                self._seat(i, self._newcomer(), time_s)

    def _reflow(self, image: U8, looks: Looks, boxes: list[Box], time_s: float) -> None:
        """Another layout: looks for everybody of the one before among its tiles, then for those who left earlier."""
        before = self._places
        present = [place.person for place in before]
        seated = {person.name for person in present}
        others = [person for name, person in self._people.items() if name not in seated]
        # Who was there a moment ago may have been hidden, by a menu or by a layout that was seen wrongly.
        lately = [person for person in others if time_s - person.seen_s <= self._settings.lately_s]
        present += lately
        self._lately = {person.name for person in present}
        people = present + [person for person in others if person.name not in self._lately]
        self._flipped = self._doubted = False
        found: dict[int, tuple[_Person, bool]] = {}
        off = without_camera(looks).tolist()
        if present and boxes:
            found = self._find(image, looks, boxes, people, len(present))
        since = {place.person.name: place.since_s for place in before if place.since_s is not None}
        for place in before:
            place.person.part()
        self._places = []
        for i, box in enumerate(boxes):
            who, sure = found.get(i) or (self._newcomer(), False)
            # Who comes where nobody was before is new beyond doubt; a doubt that is not over is not dropped.
            certain = (sure and who.name not in since) or not people
            since_s = None if certain else since.get(who.name, time_s)
            self._places.append(_Place(who, box, since_s, looks.take([i]), has_camera=not off[i], stirred=True))

    def _find(
        self, image: U8, looks: Looks, boxes: list[Box], people: list[_Person], n: int
    ) -> dict[int, tuple[_Person, bool]]:
        """Who is found in which tile, and whether that is beyond doubt; the first n were there a moment ago."""
        settings = self._settings
        alike = np.zeros((len(boxes), len(people)))
        still = np.zeros_like(alike)
        still[:, :n] = _still_there(image, boxes, people[:n])
        alike[:, :n] = compare(looks, [person.lately() for person in people[:n]], same_person)
        alike = np.maximum(alike, still)
        # Where nothing moved the place decides between those who look alike; nobody needs to look less like it.
        margin = np.where(still >= settings.sure, 0.0, settings.margin)
        prior = np.zeros_like(alike)
        prior[:, :n] = settings.place * _nearness(boxes, [person.box for person in people[:n]])
        # Where hardly anybody looks as before, these are other people: another page of a large call.
        usual = float(np.median(np.sort(alike.max(axis=1))[-n:]))
        self._flipped, self._doubted = usual < settings.sure, usual < settings.doubt
        accept = self._accept(looks, people)
        wanted, clear = matched(alike[:, :n], prior[:, :n], accept[:, :n], self._sure(), margin[:, :n])
        found = {int(i): (people[wanted[i]], True) for i in np.flatnonzero(clear)}
        # The others may be among those who left earlier, or look as they did earlier.
        rows = [i for i in range(len(boxes)) if i not in found]
        seated = {person.name for person, _ in found.values()}
        columns = [j for j, person in enumerate(people) if person.name not in seated]
        if rows and columns:
            part = np.ix_(rows, columns)
            again = compare(looks.take(rows), [people[j].known_by() for j in columns], same_person)
            wanted, clear = matched(
                np.maximum(again, alike[part]), prior[part], accept[part], self._sure(), margin[part]
            )
            found |= {rows[k]: (people[columns[wanted[k]]], bool(clear[k])) for k in np.flatnonzero(wanted >= 0)}
        return found | self._left_over(boxes, found)

    def _left_over(self, boxes: list[Box], found: dict[int, tuple[_Person, bool]]) -> dict[int, tuple[_Person, bool]]:
        """Where as many tiles are as before and all who are found stayed, so did others, whatever else the picture shows there.

        It is as in an unchanged layout, where the place decides; but nobody is certain.
        """
        was = {place.person.name: place.box for place in self._places}
        stayed = [person.name in was and _overlap(boxes[i], was[person.name]) > 0 for i, (person, _) in found.items()]
        if len(boxes) != len(self._places) or not all(stayed) or 2 * len(found) < len(boxes):
            return {}
        left: dict[int, tuple[_Person, bool]] = {}
        seated = {person.name for person, _ in found.values()}
        for place in self._places:
            if place.person.name not in seated:
                at = [
                    i
                    for i, box in enumerate(boxes)
                    if i not in found and i not in left and _overlap(box, place.box) > 0
                ]
                left |= dict.fromkeys(at[:1], (place.person, False))
        return left

    def _sure(self) -> float:
        """Concordance from which on a match may be certain."""
        return self._settings.doubt_sure if self._doubted else self._settings.sure

    def _accept(self, looks: Looks, people: list[_Person]) -> F64:
        """(looks, people) concordance from which on each of them is found in each tile."""
        settings = self._settings
        before = np.array([person.recent[-1][1].aspect[0] for person in people])
        same_shape = np.abs(np.log(looks.aspect[:, None] / before)) <= SAME_SHAPE
        present = np.where(same_shape, settings.present_same, settings.present)
        present = np.maximum(present, settings.sure if self._flipped else 0.0)
        is_here = np.array([person.name in self._lately for person in people])
        return np.asarray(np.where(is_here, present, np.maximum(settings.absent, present)), dtype=np.float64)

    def _seat(self, index: int, person: _Person, since_s: float | None) -> None:
        """Another person sits in that tile."""
        place = self._places[index]
        self._places[index] = replace(place, person=person, since_s=since_s, look=None, captions=(), jumped=None)


def _moved(alike: F64, settings: IdentitySettings) -> list[int]:
    """Tiles of an unchanged layout that show what another showed before, and those others, which do not any more."""
    own = alike.diagonal()
    better = (alike >= settings.swap) & (alike - own[:, None] >= settings.gain) & (alike - own[None] >= settings.gain)
    return sorted({int(i) for pair in np.argwhere(better) for i in pair})


def _same_places(boxes: list[Box], before: list[Box]) -> list[int] | None:
    """For each box which one of those before is at its place; None where the layout is another."""
    if len(boxes) != len(before):
        return None
    order = []
    for i, box in enumerate(boxes):
        # Tiles nearly always come in the order they came in before.
        found = next((j for j in (i, *range(len(before))) if iou(box, before[j]) >= SAME_PLACE), None)
        if found is None:
            return None
        order.append(found)
    return order if len(set(order)) == len(order) else None


def _still_there(image: U8, boxes: list[Box], people: Sequence[_Person]) -> F64:
    """(boxes, people) how well the picture at somebody's old place is as it was, where a tile lies about there.

    A tile may be cut anew, split or joined with others while nothing moves: that is no re-flow.
    """
    height, width = image.shape[:2]
    looks = look_at(image, [_on_picture(person.box, (width, height)) for person in people])
    # The newest picture alone may be one of the new layout already, seen through the tiles of the old one.
    kept = [likeness(looks.take([j]), join(person.lately())).mean() for j, person in enumerate(people)]
    overlaps = [[_overlap(box, person.box) for person in people] for box in boxes]
    return np.asarray(np.array(overlaps) * np.maximum(kept, 0), dtype=np.float64)


def _nearness(boxes: list[Box], before: list[Box]) -> F64:
    """(boxes, before) in [0, 1]: half of it overlap, half how short the way is across the wall."""
    ways = [[(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]) for b in before] for a in boxes]
    short = 1 - np.hypot(*np.moveaxis(np.array(ways), -1, 0)) / (3 * WALL)
    overlaps = np.array([[iou(a, b) for b in before] for a in boxes])
    return np.asarray((overlaps + short) / 2, dtype=np.float64)


def _overlap(box: Box, before: Box) -> float:
    """1 where both are about one place, less where one is a part of the other, 0 elsewhere."""
    both = iou(box, before)
    if both >= CUT_ANEW:
        return 1.0
    inside = (
        min(box[2], before[2]) - max(box[0], before[0]),
        min(box[3], before[3]) - max(box[1], before[1]),
    )
    smaller = min(_area(box), _area(before))
    return PART + PART_IOU * both if min(inside) > 0 and inside[0] * inside[1] >= WITHIN * smaller else 0.0


def _area(box: Box) -> int:
    """Width times height."""
    return (box[2] - box[0]) * (box[3] - box[1])


def _on_wall(box: Box, size: tuple[int, int]) -> Box:
    """The box on a picture of `WALL` x `WALL`."""
    x0, y0, x1, y1 = (round(WALL * side / size[i % 2]) for i, side in enumerate(box))
    return x0, y0, x1, y1


def _on_picture(box: Box, size: tuple[int, int]) -> Box:
    """A box of the wall on a picture of that size; one pixel or more."""
    x0, y0, x1, y1 = (round(side * size[i % 2] / WALL) for i, side in enumerate(box))
    x0, y0 = min(x0, size[0] - 1), min(y0, size[1] - 1)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)
