"""Tiles → stable pseudonyms: in an unchanged layout the place decides, through a re-flow what a tile looks like.

Nothing here knows a face: see `pipeline.appearance`. Whoever looks for consent takes a seat that is not `certain` as
somebody not known.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

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
from pipeline.boxes import iou
from pipeline.captions import common
from pipeline.emotions import F64
from pipeline.places import CUT_ANEW, nearness, on_picture, on_wall, overlap, same_places
from pipeline.seating import DEFAULT_IDENTITY, IdentitySettings, Person, Place, Seat, pseudonym
from pipeline.types import U8, Box

TURNS = 5
"""At each picture every so manieth person is remembered anew: everybody about once a second."""
ALL_AT_ONCE = 3
"""So many pictures, if they are half of all, do not jump at once by chance: other people are shown."""
GROWS_S = 2.0
"""For so long a tile may grow, and a doubt begin anew; then it is decided, whatever the picture does."""


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
        self._people: dict[str, Person] = {}
        self._places: list[Place] = []
        self._interrupted = False
        self._lately: set[str] = set()
        self._reflowed_s = -math.inf
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
        boxes = [on_wall(tiles[i], (width, height)) for i in free]
        is_over = time_s - self._reflowed_s > self._settings.lately_s
        if is_over:
            # What was written at the tile of who has left is of no use any more.
            seated = {place.person.name for place in self._places}
            for name in self._people.keys() - seated:
                self._people[name].captions = ()
        if settled:
            self._stirred = stirred
            if is_over:
                # Who is not here by now has left: it takes more to find them again.
                self._lately = set()
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

    def forget(self, name: str) -> None:
        """Drops what was seen of somebody: their pictures, and what was written at their tile.

        Whoever sits there stays who they are, as the place decides, and so does what they said: the newest picture is
        kept until the next takes its place, and they are remembered by later ones. Whoever has left is known no more.
        """
        for place in self._places:
            if place.person.name == name:
                place.person.erase()
                place.look, place.name_then = None, None
                return
        self._people.pop(name, None)

    def clear(self) -> None:
        """Forgets everybody; nobody is looked at any more."""
        self._people, self._places = {}, []

    def _look(self, image: U8, tiles: list[Box], boxes: list[Box], time_s: float) -> None:
        """Brings the places up to date with a picture that shows this layout."""
        looks = look_at(image, tiles)
        order = None if self._interrupted else same_places(boxes, [place.box for place in self._places])
        if order is None:
            self._reflow(image, looks, boxes, time_s)
        else:
            self._places = [self._places[i] for i in order]
            self._stay(image, looks, boxes, time_s)
        for i, place in enumerate(self._places):
            # Enough time to mend what was uncertain is over: it counts as it is.
            if place.since_s is not None and time_s - place.since_s >= self._settings.settle_s:
                replaced = self._replaced(image, place, looks.take([i]))
                place.decide()
                if replaced:
                    place.person = self._newcomer()
                elif not self._is_new(place.person):
                    place.person.assumed += 1
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
                place.read(image)
        self._turn = (self._turn + 1) % TURNS
        # Of who was erased and has left meanwhile nothing is known.
        here = {place.person.name for place in self._places}
        self._people = {name: one for name, one in self._people.items() if name in here or not one.is_erased}

    def _replaced(self, image: U8, place: Place, look: Looks) -> bool:
        """Whether somebody else sits in a place since its picture jumped.

        The picture stood still before and stands still now, and neither the room is as it was nor what is in its
        middle, or the name; or quite another name stands there. Who had no camera on may look like anything, and so may
        who has switched it off; who has none on in another layout was not found there.
        """
        person, settings = place.person, self._settings
        switched_off = without_camera(look)[0] and place.doubted_s > self._reflowed_s
        if place.look is None or self._is_new(person) or switched_off:
            return False
        known = person.known_before() if place.stirred else person.known_by()
        shared = self._shared(image, place)
        if shared < settings.renamed:
            return not without_camera(known[0])[0]
        newest, oldest = person.lately()
        still = likeness(place.look, look)[0, 0]
        if not place.stirred:
            still = min(still, likeness(newest, oldest)[0, 0])
        return bool(
            not without_camera(known[0])[0]
            and still >= settings.still
            and compare(look, [known], same_camera)[0, 0] < (settings.other_room if place.stirred else settings.other)
            and (compare(look, [known], same_middle)[0, 0] < settings.other or shared < settings.other_name)
        )

    def _shared(self, image: U8, place: Place) -> float:
        """What is written in a place, now or as it came to be uncertain, has so much in common with the last times before.

        1 where nothing is known of it.
        """
        captions = place.person.captions
        if len(captions) < 2 or not place.is_known:  # noqa: PLR2004 (what stands still takes two)
            return 1.0
        caption = place.caption(image)
        then = caption if place.name_then is None else place.name_then
        shared = common((captions[0], captions[1]), (then, caption))
        return 1.0 if shared is None else shared

    def _renamed(self, image: U8, place: Place) -> bool:
        """Whether another name stands in a place than the last times before."""
        return self._shared(image, place) < self._settings.renamed

    def _looks_renamed(self, image: U8, place: Place, look: Looks) -> bool:
        """Whether somebody does not look quite as before in their place, and another name stands there."""
        if not place.is_known or likeness(look, place.person.recent[-1][1])[0, 0] >= self._settings.jump_renamed:
            return False
        return self._renamed(image, place)

    def _is_new(self, person: Person) -> bool:
        """Whether somebody may still turn out to be one who is known."""
        return person.name not in self._people

    def _enter(self, person: Person) -> None:
        """Remembers somebody from now on; forgets who has been gone for longest when there are too many."""
        self._people[person.name] = person
        seated = {place.person.name for place in self._places}
        gone = sorted((other.seen_s, name) for name, other in self._people.items() if name not in seated)
        for _, name in gone[: max(0, len(self._people) - self._settings.n_people)]:
            del self._people[name]
            self.n_forgotten += 1

    def _newcomer(self) -> Person:
        """The next participant to appear."""
        while (name := pseudonym(self._seed, self._n_known)) in self._fixed.values():
            self._n_known += 1
        self._n_known += 1
        return Person(name, self._settings.n_pictures)

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

    def _stay(self, image: U8, looks: Looks, boxes: list[Box], time_s: float) -> None:
        """One more picture of the layout as it stands: whoever sits there stays, unless pictures changed places."""
        settings = self._settings
        if not self._places:
            return
        people = [place.person for place in self._places]
        lately = [person.lately() for person in people]
        alike, middles = compare(looks, lately, likeness), compare(looks, lately, same_middle)
        own = alike.diagonal()
        jumped = np.flatnonzero(own < (settings.jump_slight if self._stirred else settings.jump)).tolist()
        if len(jumped) >= max(ALL_AT_ONCE, len(people) / 2):
            self._reflow(image, looks, boxes, time_s)
            return
        moved = sorted({*_moved(alike, settings), *_moved(middles, settings)})
        if len(jumped) > 1 or moved:
            # Whoever shows what another showed, and that is where the tile lies, is not found by another crop.
            whole = np.where(np.isin(np.arange(len(people)), moved), own, 1.0)
            rows = sorted({*jumped, *moved})
            self._exchange(looks, rows, whole[rows], time_s)
        if self._stirred:
            self._begin_anew(image, looks, time_s)
        # Who switched the camera off is nobody else, and nobody is to be read. But a tile that grows has page around it.
        camera_off = without_camera(looks) & (not self._stirred)
        for i in np.flatnonzero((own < settings.jump_renamed) & ~camera_off).tolist():
            place = self._places[i]
            stays = place.person is people[i] and place.since_s is None
            if stays and (i in jumped or self._renamed(image, place)):
                place.since_s = place.doubted_s = time_s
                place.look, place.stirred = looks.take([i]), self._stirred
                place.name_then = place.caption(image)
        doubtful = [i for i, place in enumerate(self._places) if place.since_s is not None]
        if doubtful:
            self._mend(image, looks, doubtful, time_s)

    def _begin_anew(self, image: U8, looks: Looks, time_s: float) -> None:
        """A doubt begins when the picture stands: tiles may grow in the place of others, and names come later still."""
        for i, place in enumerate(self._places):
            if place.since_s is not None and place.look is not None and time_s - place.doubted_s <= GROWS_S:
                look = looks.take([i])
                if likeness(place.look, look)[0, 0] < self._settings.still:
                    place.since_s, place.look = time_s, look
                place.name_then = place.caption(image)

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

    def _mend(self, image: U8, looks: Looks, rows: list[int], time_s: float) -> None:
        """Looks once more for those whose seats are uncertain, among everybody who has no certain seat.

        Whoever sat where another name stands now is not certain again by the looks alone: time decides.
        """
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
                goes = people[taken[k]] is not place.person
                if goes or (clear[k] and not self._renamed(image, place)):
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
        self._lately, self._reflowed_s = {person.name for person in present}, time_s
        people = present + [person for person in others if person.name not in self._lately]
        self._flipped = self._doubted = False
        found: dict[int, tuple[Person, bool]] = {}
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
            place = Place(who, box, None, has_camera=not off[i], stirred=True)
            if not certain or self._looks_renamed(image, place, looks.take([i])):
                place.since_s = place.doubted_s = since.get(who.name, time_s)
                place.look = looks.take([i])
                place.name_then = place.caption(image) if place.is_known else None
            self._places.append(place)

    def _find(
        self, image: U8, looks: Looks, boxes: list[Box], people: list[Person], n: int
    ) -> dict[int, tuple[Person, bool]]:
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
        prior[:, :n] = settings.place * nearness(boxes, [person.box for person in people[:n]])
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

    def _left_over(self, boxes: list[Box], found: dict[int, tuple[Person, bool]]) -> dict[int, tuple[Person, bool]]:
        """Where as many tiles are as before and all who are found stayed, so did others, whatever is shown there.

        It is as in an unchanged layout, where the place decides; but nobody is certain.
        """
        was = {place.person.name: place.box for place in self._places}
        stayed = [person.name in was and overlap(boxes[i], was[person.name]) > 0 for i, (person, _) in found.items()]
        if len(boxes) != len(self._places) or not all(stayed) or 2 * len(found) < len(boxes):
            return {}
        left: dict[int, tuple[Person, bool]] = {}
        seated = {person.name for person, _ in found.values()}
        for place in self._places:
            if place.person.name not in seated:
                at = [
                    i for i, box in enumerate(boxes) if i not in found and i not in left and overlap(box, place.box) > 0
                ]
                left |= dict.fromkeys(at[:1], (place.person, False))
        return left

    def _sure(self) -> float:
        """Concordance from which on a match may be certain."""
        return self._settings.doubt_sure if self._doubted else self._settings.sure

    def _accept(self, looks: Looks, people: list[Person]) -> F64:
        """(looks, people) concordance from which on each of them is found in each tile."""
        settings = self._settings
        before = np.array([person.recent[-1][1].aspect[0] for person in people])
        same_shape = np.abs(np.log(looks.aspect[:, None] / before)) <= SAME_SHAPE
        present = np.where(same_shape, settings.present_same, settings.present)
        present = np.maximum(present, settings.sure if self._flipped else 0.0)
        is_here = np.array([person.name in self._lately for person in people])
        return np.asarray(np.where(is_here, present, np.maximum(settings.absent, present)), dtype=np.float64)

    def _seat(self, index: int, person: Person, since_s: float | None) -> None:
        """Another person sits in that tile."""
        place = self._places[index]
        self._places[index] = replace(place, person=person, since_s=since_s, look=None, name_then=None)


def _moved(alike: F64, settings: IdentitySettings) -> list[int]:
    """Tiles of an unchanged layout that show what another showed before, and those others, which do not any more."""
    own = alike.diagonal()
    better = (alike >= settings.swap) & (alike - own[:, None] >= settings.gain) & (alike - own[None] >= settings.gain)
    return sorted({int(i) for pair in np.argwhere(better) for i in pair})


def _still_there(image: U8, boxes: list[Box], people: Sequence[Person]) -> F64:
    """(boxes, people) how well the picture at somebody's old place is as it was, where a tile lies about there.

    A tile may be cut anew, split or joined with others while nothing moves: that is no re-flow.
    """
    height, width = image.shape[:2]
    looks = look_at(image, [on_picture(person.box, (width, height)) for person in people])
    # The newest picture alone may be one of the new layout already, seen through the tiles of the old one.
    kept = [likeness(looks.take([j]), join(person.lately())).mean() for j, person in enumerate(people)]
    overlaps = [[overlap(box, person.box) for person in people] for box in boxes]
    return np.asarray(np.array(overlaps) * np.maximum(kept, 0), dtype=np.float64)
