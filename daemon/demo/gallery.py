"""A made-up meeting of up to 49 people as a meeting application draws it, with the exact truth.

`make_gallery` draws a layout, people and what happens from a seed: re-flows, joins, leaves, swaps, shared screens,
cameras off and on. `daemon.demo.stage` films it. The same seed gives the same script.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from daemon.demo.layouts import WIDE, Kind, Skin, place_picture, plan
from daemon.demo.skins import make_skin
from pipeline.types import Box

STAND_S: Final = 5.0
"""A layout stands at least so long."""
MOST: Final = 49
ROOM_TILES: Final = 6
"""Two people in a smaller tile could not be seen apart."""
_NAMES: Final = (
    "Ada", "Bea Lund", "Cem", "Dora V.", "Emil", "Fay Adeyemi", "Gus", "Hana", "Ivo Brandt", "Jo", "Kemal", "Lea",
    "Maud Okafor", "Nils", "Oona", "Pia", "Quentin R.", "Rosa", "Sam", "Tove Lindqvist", "Uma", "Viktor", "Wanda",
    "Xenia", "Yusuf", "Zoe",
)  # fmt: skip
_ASPECTS: Final = (16 / 9, 4 / 3, 9 / 16, 3 / 4, 1.0)
Share = Literal["slides", "text", "code", "web", "video"]
SHARES: Final[tuple[Share, ...]] = ("slides", "text", "code", "web", "video")


@dataclass(frozen=True, slots=True)
class GalleryPerson:
    """A participant: name on the label, width / height of the camera's picture, seconds in the call."""

    name: str
    aspect: float
    present: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class GalleryTile:
    """A participant's tile: number of the person, whole rectangle, the part with the picture, the label's place.

    `muted` draws a microphone with a line through it on the label. A label that is not drawn has no width.
    """

    person: int
    rect: Box
    content: Box
    label: Box
    camera: bool
    muted: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands from t0 to t1 seconds; tiles slide in from where they were during the first `reflow_s`."""

    t0: float
    t1: float
    reflow_s: float
    grid: str
    tiles: tuple[GalleryTile, ...]
    screen: Box | None


@dataclass(frozen=True, slots=True)
class GalleryScript:
    """A recording of `seconds` at `fps` pictures per second, `size` = (width, height) pixels.

    speakers: who speaks, as (t0, t1, person). share: what a shared screen shows. face: whom of a cast the first
    person is played by; the others follow. rooms: people before whose camera somebody else sits at the right; these
    others, their mates, are played by whoever follows in the cast.
    """

    seed: int
    size: tuple[int, int]
    fps: int
    seconds: int
    skin: Skin
    people: tuple[GalleryPerson, ...]
    scenes: tuple[Scene, ...]
    speakers: tuple[tuple[float, float, int], ...]
    share: Share
    face: int
    rooms: tuple[int, ...] = ()

    @property
    def n_faces(self) -> int:
        """How many people are played."""
        return len(self.people) + len(self.rooms)

    def mate(self, person: int) -> int | None:
        """Who sits before the same camera, as a number that follows those of the people; None: nobody."""
        return len(self.people) + self.rooms.index(person) if person in self.rooms else None

    def scene_at(self, time_s: float) -> int:
        """Which scene stands at this time."""
        return max(index for index, scene in enumerate(self.scenes) if scene.t0 <= time_s or index == 0)

    def truth(self) -> dict[str, Any]:
        """The script as JSON for `attuned evaluate gallery`: rectangles are [x, y, width, height]."""
        return {
            "size": list(self.size),
            "fps": self.fps,
            "duration": self.seconds,
            "note": f"made by attuned's gallery generator, seed {self.seed}, looks like {self.skin.name}",
            "rect": "[x,y,w,h] in pixels of the recording; content_rect is the part of the tile that holds the picture",
            "people": {
                f"p{number}": {
                    "display_name": person.name,
                    "present": [list(span) for span in person.present],
                    "segments": self._segments(number - 1),
                }
                for number, person in self._everybody()
            },
            "layout": [
                {
                    "t0": scene.t0,
                    "t1": scene.t1,
                    "grid": scene.grid,
                    "reflow_s": scene.reflow_s,
                    **({"screen": _xywh(scene.screen), "screen_shows": self.share} if scene.screen else {}),
                    "tiles": [
                        {
                            "person": f"p{person + 1}",
                            "rect": _xywh(rect),
                            "content_rect": _xywh(content),
                            "name_rect": _xywh(tile.label),
                            "camera": "on" if tile.camera else "off",
                        }
                        for tile in scene.tiles
                        for person, rect, content in self._shown(tile)
                    ],
                }
                for scene in self.scenes
            ],
            "active_speaker": [{"t0": t0, "t1": t1, "person": f"p{person + 1}"} for t0, t1, person in self.speakers],
        }

    def _everybody(self) -> list[tuple[int, GalleryPerson]]:
        """Numbers from 1 on, mates at the end, under the name and in the call like those they sit with."""
        people = [*self.people, *(self.people[person] for person in self.rooms)]
        return list(enumerate(people, 1))

    def _shown(self, tile: GalleryTile) -> list[tuple[int, Box, Box]]:
        """Who is in a tile, with the part of the tile and of the picture that is theirs."""
        mate = self.mate(tile.person)
        if mate is None or not tile.camera:
            return [(tile.person, tile.rect, tile.content)]
        (x0, y0, x1, y1), (cx0, cy0, cx1, cy1) = tile.rect, tile.content
        middle = (cx0 + cx1) // 2
        return [
            (tile.person, (x0, y0, middle, y1), (cx0, cy0, middle, cy1)),
            (mate, (middle, y0, x1, y1), (middle, cy0, cx1, cy1)),
        ]

    def _segments(self, person: int) -> list[dict[str, Any]]:
        """When the person's camera is on and off, while the person is shown."""
        found: list[dict[str, Any]] = []
        for scene in self.scenes:
            for tile in scene.tiles:
                if all(shown != person for shown, _, _ in self._shown(tile)):
                    continue
                camera = "on" if tile.camera else "off"
                if found and found[-1]["camera"] == camera and found[-1]["t1"] == scene.t0:
                    found[-1]["t1"] = scene.t1
                else:
                    found.append(
                        {"t0": scene.t0, "t1": scene.t1, "emotion": None, "label_source": None, "camera": camera}
                    )
        return found


def _xywh(box: Box) -> list[int]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


@dataclass(frozen=True, slots=True)
class _State:
    """Who is there in which order, how many there have been, whose cameras are off, and how they are shown."""

    kind: Kind
    order: tuple[int, ...]
    n_seen: int
    off: frozenset[int]
    muted: frozenset[int]
    reflow_s: float = 0.0


def make_gallery(
    seed: int,
    *,
    seconds: int,
    people: int | None,
    size: tuple[int, int] = (1280, 720),
    fps: int = 10,
    reflows: bool = True,
    rooms: bool = False,
) -> GalleryScript:
    """A meeting drawn from the seed: `people` at the start, or 1 to 49 of them; without `reflows` one layout.

    With `rooms` two sit before one or two of the cameras, in a meeting of at most six tiles.

    Layouts stand at least five seconds. More than 49 are never there, nor more than can be seen in a picture of
    this size.

    Raises:
        ValueError: Fewer than 1 second, person or picture per second, more than 49 people, or a picture smaller than
            320 x 180.
    """
    width, height = size
    if min(seconds, fps) < 1 or not (people is None or 1 <= people <= MOST) or width < 320 or height < 180:  # noqa: PLR2004
        msg = (
            f"a gallery has 1 to {MOST} people, lasts 1 s or more at 1 picture per second or more, in 320x180 or more; "
            f"not {people} people, {seconds} s, {fps} per second, {width}x{height}"
        )
        raise ValueError(msg)
    rng = np.random.default_rng((seed, 20))
    # A tile of a person is at least 48 pixels high, or nobody could see the face.
    most = max(people or 1, min(MOST, (height // 56) * (width // 90)))
    n = people or min(most, int(rng.choice([rng.integers(1, 7), rng.integers(4, 17), rng.integers(10, MOST + 1)])))
    n = min(n, ROOM_TILES) if rooms else n
    skin = make_skin(rng, size)
    times = _times(rng, seconds, fps) if reflows and rng.random() < 0.85 else []  # noqa: PLR2004
    kinds: tuple[Kind, ...] = ("grid", "speaker", "screen")
    kind = kinds[int(rng.choice(3, p=(0.6, 0.2, 0.2)))]
    off_share = rng.choice([0, 0.1, 0.35], p=(0.4, 0.4, 0.2))
    pool = range(MOST)
    state = _State(
        kind,
        tuple(range(n)),
        n,
        frozenset(person for person in pool if rng.random() < off_share),
        frozenset(person for person in pool if rng.random() < 0.4),  # noqa: PLR2004
    )
    states = [(0.0, state)]
    for time_s in times:
        after = _next(rng, states[-1][1], most)
        states.append((time_s, replace(after, reflow_s=round(float(rng.choice([0, 0, 0.2, 0.3, 0.4])), 1))))
    if not reflows or len(states) == 1:
        states += _camera_turns(rng, state, seconds, fps)
    shared = _rooms(seed, state) if rooms else ()
    aspects = tuple(WIDE if person in shared else aspect for person, aspect in enumerate(_aspects(rng, pool)))
    shuffled = rng.permutation(MOST).tolist()
    names = tuple(_name(rng, number) for number in shuffled)
    ends = [*(time_s for time_s, _ in states[1:]), float(seconds)]
    scenes = tuple(
        _scene(one, (start, end), size, skin, aspects, names) for (start, one), end in zip(states, ends, strict=True)
    )
    n_pool = states[-1][1].n_seen
    cast = tuple(
        GalleryPerson(names[person], aspects[person], _present(states, ends, person)) for person in range(n_pool)
    )
    share = SHARES[int(rng.integers(len(SHARES)))]
    speakers, face = _speakers(rng, scenes, fps), int(rng.integers(1000))
    return GalleryScript(seed, size, fps, seconds, skin, cast, scenes, speakers, share, face, shared)


def _aspects(rng: np.random.Generator, pool: Sequence[int]) -> list[float]:
    """Shapes of cameras' pictures, most of them 16:9."""
    return [_ASPECTS[int(rng.choice(5, p=(0.66, 0.16, 0.08, 0.04, 0.06)))] for _ in pool]


def _rooms(seed: int, state: _State) -> tuple[int, ...]:
    """One or two of those whose camera is on at the start, if there are so many."""
    rng = np.random.default_rng((seed, 33))
    shown = [person for person in state.order if person not in state.off]
    return tuple(sorted(rng.permutation(shown).tolist()[: int(rng.integers(1, 3))]))


def _name(rng: np.random.Generator, number: int) -> str:
    """Names differ: after 26 they come with another letter."""
    first = _NAMES[(number * 7) % len(_NAMES)]
    return first if number < len(_NAMES) else f"{first.split()[0]} {'ABCDEFGHKLMNPRST'[int(rng.integers(16))]}."


def _times(rng: np.random.Generator, seconds: int, fps: int) -> list[float]:
    """When the layout changes, on pictures of the video."""
    times: list[float] = []
    now = STAND_S + rng.uniform(0, 4)
    while now <= seconds - STAND_S:
        times.append(round(now * fps) / fps)
        now = times[-1] + STAND_S + 1 / fps + rng.uniform(0, 5)
    return times


def _next(rng: np.random.Generator, now: _State, most: int) -> _State:
    """What happens next: always something that moves, adds or takes away tiles."""
    order = list(now.order)
    n_seen = now.n_seen
    choices = ["kind", "sort", "swap", "join", "leave", "speaker"]
    what = str(rng.choice(choices, p=(0.22, 0.14, 0.14, 0.2, 0.18, 0.12)))
    if what == "join" and len(order) < most:
        where = len(order) if rng.random() < 0.6 else int(rng.integers(len(order) + 1))  # noqa: PLR2004
        for _ in range(min(most - len(order), int(rng.choice([1, 1, 1, 2, 3])))):
            left = [person for person in range(n_seen) if person not in order]
            back = bool(left) and (rng.random() < 0.5 or n_seen == MOST)  # noqa: PLR2004
            order.insert(where, left[int(rng.integers(len(left)))] if back else n_seen)
            n_seen += not back
    elif what == "leave" and len(order) > 1:
        for _ in range(min(len(order) - 1, int(rng.choice([1, 1, 2])))):
            del order[int(rng.integers(len(order)))]
    elif what == "sort" and len(order) > 2:  # noqa: PLR2004
        order = _shuffled(rng, order)
    elif what in {"swap", "speaker"} and len(order) > 1:
        # In a view with a speaker that is whoever stands first.
        a = 0 if what == "speaker" else int(rng.integers(len(order)))
        b = int(rng.choice([index for index in range(len(order)) if index != a]))
        order[a], order[b] = order[b], order[a]
    else:
        others: list[Kind] = [kind for kind in ("grid", "speaker", "screen") if kind != now.kind]
        if len(order) == 1:
            others = ["grid"] if now.kind == "screen" else ["screen"]
        return replace(now, kind=others[int(rng.integers(len(others)))])
    off = now.off
    if rng.random() < 0.15:  # noqa: PLR2004 (a camera that goes on or off moves its tile in many applications)
        off = off ^ {order[int(rng.integers(len(order)))]}
    return replace(now, order=tuple(order), n_seen=n_seen, off=off)


def _shuffled(rng: np.random.Generator, order: Sequence[int]) -> list[int]:
    """Another order: somebody comes first, such as with a raised hand, or all are sorted anew."""
    if rng.random() < 0.5:  # noqa: PLR2004
        first = int(rng.integers(1, len(order)))
        return [order[first], *order[:first], *order[first + 1 :]]
    after = list(order)
    while after == list(order):
        after = rng.permutation(list(order)).tolist()
    return after


def _camera_turns(rng: np.random.Generator, state: _State, seconds: int, fps: int) -> list[tuple[float, _State]]:
    """Cameras that go on and off while the layout stands."""
    turns: list[tuple[float, _State]] = []
    off = state.off
    for time_s in _times(rng, seconds, fps):
        if rng.random() < 0.4:  # noqa: PLR2004
            off = off ^ {state.order[int(rng.integers(len(state.order)))]}
            turns.append((time_s, replace(state, off=off)))
    return turns


def _scene(
    state: _State,
    span: tuple[float, float],
    size: tuple[int, int],
    skin: Skin,
    aspects: Sequence[float],
    names: Sequence[str],
) -> Scene:
    """Where everybody is while a state lasts."""
    laid = plan(state.kind, len(state.order), size, skin)
    tiles = []
    for person, place in zip(state.order, laid.rects, strict=False):
        rect, content = place, place
        if person not in state.off:
            rect, content = place_picture(place, aspects[person], skin)
        label = _label(names[person], rect, skin, size[1], muted=person in state.muted)
        tiles.append(GalleryTile(person, rect, content, label, person not in state.off, person in state.muted))
    return Scene(*span, state.reflow_s, laid.grid, tuple(tiles), laid.screen)


def _label(name: str, rect: Box, skin: Skin, height: int, *, muted: bool) -> Box:
    """Where the name stands: wide enough for its letters, never wider than the tile."""
    x0, _, x1, y1 = rect
    high = skin.label_px(height)
    wide = min(x1 - x0 - 6, round(high * (0.7 + 0.5 * len(name) + (0.8 if muted else 0))))
    if skin.label == "none" or wide < 2 * high:
        return x0, y1, x0, y1
    gap = 3 if high < LABEL_GAP_FROM else 6
    if skin.label == "below":
        return x0, y1 + 2, x0 + wide, y1 + 2 + high
    left = x0 + gap if skin.label == "left" else (x0 + x1 - wide) // 2
    return left, y1 - gap - high, left + wide, y1 - gap


LABEL_GAP_FROM: Final = 16


def _present(
    states: Sequence[tuple[float, _State]], ends: Sequence[float], person: int
) -> tuple[tuple[float, float], ...]:
    """Spans of the person in the call, shown or not."""
    spans: list[tuple[float, float]] = []
    for (start, state), end in zip(states, ends, strict=True):
        if person in state.order:
            joined = bool(spans) and spans[-1][1] == start
            spans[-1:] = [(spans[-1][0], end)] if joined else [*spans[-1:], (start, end)]
    return tuple(spans)


def _speakers(rng: np.random.Generator, scenes: Sequence[Scene], fps: int) -> tuple[tuple[float, float, int], ...]:
    """Who speaks when; sometimes nobody does for a while."""
    turns: list[tuple[float, float, int]] = []
    for scene in scenes:
        now = scene.t0
        while now < scene.t1:
            end = min(scene.t1, now + round(rng.uniform(1.5, 6) * fps) / fps)
            if scene.tiles and rng.random() < 0.8:  # noqa: PLR2004
                turns.append((now, end, scene.tiles[int(rng.integers(len(scene.tiles)))].person))
            now = end
    return tuple(turns)
