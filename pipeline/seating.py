"""Who may sit in a tile: what is remembered of people, what a place of the layout knows, what is said of it."""

from collections import deque
from dataclasses import dataclass
from hashlib import sha256

from pipeline.appearance import Looks, compare, likeness
from pipeline.boxes import SAME_PLACE, iou
from pipeline.captions import Strokes, strokes_of
from pipeline.places import on_picture
from pipeline.types import U8, Box

NOTHING_NEW = 0.9
"""Concordance with a remembered picture from which on there is nothing new to remember."""


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
    jump_slight: the same as tiles come and go.
    other: concordance with all that is known of somebody, and correlation of the middles, below which a picture that
        jumped is of somebody else.
    other_room: the same for the concordance as tiles come and go.
    other_name: what captions have in common below which it need not be another middle, too: of the same people, as
        others moved, 5 % were below 0.92.
    renamed: the same below which another name stands there: of the same people, as others moved, 1 % were below 0.53
        (71); of those who came in their places half below 0.29 (119; `pipeline.captions`).
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
    other_name: float = 0.75
    renamed: float = 0.4
    jump_renamed: float = 0.75
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


class Person:
    """Somebody and how their tile looked: lately, and the pictures to remember them by."""

    __slots__ = ("assumed", "box", "captions", "is_erased", "keys", "name", "recent", "seen_s", "written")

    def __init__(self, name: str, n_pictures: int) -> None:
        self.name = name
        self.assumed = 0
        self.box: Box = (0, 0, 0, 0)
        self.recent: deque[tuple[float, Looks]] = deque(maxlen=64)
        self.keys: deque[Looks] = deque(maxlen=n_pictures)
        self.seen_s = 0.0
        self.is_erased = False
        """Whether the one picture that is left is from before somebody asked for all to go."""
        self.captions: tuple[Strokes, ...] = ()
        """What was written at their tile the last times that was looked at, about a second apart, the latest last,"""
        self.written: Box = (0, 0, 0, 0)
        """and the tile."""

    def see(self, time_s: float, look: Looks, box: Box, look_back_s: float) -> None:
        """One more picture, and where it is; of those before, as many as reach back that far are kept."""
        if self.is_erased:
            self.recent.clear()
            self.is_erased = False
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
        if self.is_erased:
            return
        if not self.keys or compare(look, [list(self.keys)], likeness)[0, 0] < NOTHING_NEW:
            self.keys.append(look)

    def erase(self) -> None:
        """Drops all pictures but the newest, by which they are followed to the next one; that takes its place."""
        newest = self.recent[-1]
        self.keys.clear()
        self.recent.clear()
        self.captions = ()
        self.recent.append(newest)
        self.is_erased = True

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
class Place:
    """A tile of the layout as it stands.

    since_s: when it came to be uncertain who sits here; None while it is certain.
    look: what the tile looked like then; doubted_s: when that doubt began, before it began anew.
    has_camera: see `Seat`; looked at about once a second.
    stirred: it came to be uncertain as the layout changed, or tiles came and went: then others may sit here.
    name_then: what was written there as it came to be uncertain; None where that does not matter.
    """

    person: Person
    box: Box
    since_s: float | None
    look: Looks | None = None
    has_camera: bool = True
    stirred: bool = False
    name_then: Strokes | None = None
    doubted_s: float = 0.0

    def decide(self) -> None:
        """It counts as it is who sits here: what the doubt was about is over."""
        self.since_s, self.look, self.name_then = None, None, None
        self.person.captions = ()

    def caption(self, image: U8) -> Strokes:
        """What is written there now, to the pixel where it was when it was read before."""
        height, width = image.shape[:2]
        return strokes_of(image, on_picture(self.person.written if self.is_known else self.box, (width, height)))

    @property
    def is_known(self) -> bool:
        """Whether what was written at the person's tile was written in this place."""
        return iou(self.person.written, self.box) >= SAME_PLACE

    def read(self, image: U8) -> None:
        """Notes what is written there, and what was the last time."""
        caption = self.caption(image)
        if not self.is_known:
            self.person.captions, self.person.written = (), self.box
        self.person.captions = (*self.person.captions[-1:], caption)
