"""How well the tiles of a gallery were found and the people in them followed, against the truth.

Recall, precision and IoU are taken once a second over the tiles whose camera is on; a tile is right at an IoU of
0.8. Id switches are those of MOT (Bernardin & Stiefelhagen 2008, section 2.1.2): a person is matched with another
id than the last time.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.boxes import iou
from pipeline.types import Box

RIGHT_IOU: Final = 0.8
SAME_S: Final = 1e-3
"""Times that differ by less are the same."""
SETTLE_S: Final = 2.0
"""So long after a re-flow ids may settle: `settled` figures leave these seconds out."""
LIES_ON: Final = 0.5
"""Share of a found tile that stands on a tile whose camera is off, for it to count neither way."""


@dataclass(frozen=True, slots=True)
class TrueTile:
    """Where a person really is: the whole tile, the part with the camera's picture, when the camera is off."""

    person: str
    rect: Box
    content: Box
    off: tuple[tuple[float, float], ...] = ()

    def camera_on(self, time_s: float) -> bool:
        """Whether the camera is on at this time."""
        return not any(t0 <= time_s < t1 for t0, t1 in self.off)


@dataclass(frozen=True, slots=True)
class TrueLayout:
    """What stands from t0 to t1 seconds; for the first `reflow_s` tiles are on their way from where they were before."""

    t0: float
    t1: float
    tiles: tuple[TrueTile, ...]
    reflow_s: float = 0.0

    def sets_out(self, time_s: float) -> bool:
        """Whether at this time tiles that will be on their way have not moved yet."""
        return self.reflow_s > 0 and time_s - self.t0 < SAME_S


@dataclass(frozen=True, slots=True)
class FoundTile:
    """A tile as it was found: whose it is said to be, and where.

    Where it is not `certain` who sits there, nothing is said: it is a tile as any other, and no match of an id.
    """

    participant: str
    xyxy: Box
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Look:
    """What was found in the picture at `time_s`."""

    time_s: float
    tiles: tuple[FoundTile, ...]


@dataclass(frozen=True, slots=True)
class TileFigures:
    """Over `n_seconds` pictures with `n_tiles` true tiles: shares in [0, 1], None where nothing could be right.

    n_found: found tiles, but those on a tile whose camera is off. n_right: tiles that were found where they are.
    mean_iou: of every true tile with what was found for it, 0 where nothing was.
    """

    n_seconds: int
    n_tiles: int
    n_found: int
    n_right: int
    recall: float | None
    precision: float | None
    mean_iou: float | None


@dataclass(frozen=True, slots=True)
class GalleryFigures:
    """The figures of a recording.

    tiles: of every second. settled: without the two seconds after each re-flow. id_switches: as in MOT.
    n_shared_ids: ids that stood for more than one person. n_changes: re-flows. settle_s: seconds from each until all
    tiles with the camera on are right and carry their person's id; where that never came, how long the layout stood.
    n_unsettled: re-flows after which it never came. n_pairs, n_kept: people who were seen before a re-flow and two
    seconds after it, and those of them who kept their id.
    """

    tiles: TileFigures
    settled: TileFigures
    id_switches: int
    n_shared_ids: int
    n_changes: int
    settle_s: tuple[float, ...]
    n_unsettled: int
    n_pairs: int
    n_kept: int

    def as_json(self) -> dict[str, Any]:
        """The figures as `attuned evaluate gallery --json` gives them."""
        return {
            "recall": self.tiles.recall,
            "precision": self.tiles.precision,
            "mean_iou": self.tiles.mean_iou,
            "id_switches": self.id_switches,
            "settle_s_max": max(self.settle_s, default=None),
            "n_seconds": self.tiles.n_seconds,
            "n_tiles": self.tiles.n_tiles,
            "ids_kept": _share(self.n_kept, self.n_pairs),
            "n_changes": self.n_changes,
            "n_unsettled": self.n_unsettled,
            "n_shared_ids": self.n_shared_ids,
            "settled": {
                "recall": self.settled.recall,
                "precision": self.settled.precision,
                "mean_iou": self.settled.mean_iou,
                "n_seconds": self.settled.n_seconds,
                "n_tiles": self.settled.n_tiles,
            },
        }


def measure_gallery(truth: Sequence[TrueLayout], looks: Sequence[Look]) -> GalleryFigures:
    """The figures of what was found, looks in the order of time, against the truth, layouts in the order of time.

    Looks at a time without a layout are left out. Of the looks within a second the one nearest to its middle stands
    for it; settling is judged by all of them.
    """
    scored = [_Scored(look, layout) for look in looks if (layout := _layout_at(truth, look.time_s)) is not None]
    changes = [after.t0 for before, after in pairwise(truth) if _places(before) != _places(after)]
    seconds = _one_a_second(scored)
    late = [one for one in seconds if not any(at <= one.time_s < at + SETTLE_S for at in changes)]
    people: dict[str, str] = {}
    switches = 0
    owners: dict[str, set[str]] = {}
    for one in seconds:
        for person, participant in one.ids.items():
            switches += people.get(person, participant) != participant
            people[person] = participant
            owners.setdefault(participant, set()).add(person)
    ends = [*changes[1:], float("inf")]
    settle_s, n_unsettled, n_pairs, n_kept = [], 0, 0, 0
    for at, end in zip(changes, ends, strict=False):
        before = [one for one in scored if one.time_s < at]
        after = [one for one in scored if at <= one.time_s < end]
        known = _last_ids(before)
        if any(one.wanted for one in after):
            right_s = next((one.time_s for one in after if one.has_moved and one.right_with(known)), None)
            stood_s = min(end, truth[-1].t1) - at
            settle_s.append(round(stood_s if right_s is None else right_s - at, 3))
            n_unsettled += right_s is None
        pairs = list(_kept(truth, at, known, [one for one in after if one.time_s >= at + SETTLE_S]))
        n_pairs, n_kept = n_pairs + len(pairs), n_kept + sum(pairs)
    return GalleryFigures(
        tiles=_figures(seconds),
        settled=_figures(late),
        id_switches=switches,
        n_shared_ids=sum(len(persons) > 1 for persons in owners.values()),
        n_changes=len(changes),
        settle_s=tuple(settle_s),
        n_unsettled=n_unsettled,
        n_pairs=n_pairs,
        n_kept=n_kept,
    )


class _Scored:
    """One look against the layout that stood then.

    wanted: people whose camera is on. n_right: how many of their tiles are right. ids: the id said with certainty
    for each of these. overlaps: the IoU of each one's tile with what was found for it. n_false: found tiles that are
    nobody's. has_moved: False in the picture in which tiles set out.
    """

    def __init__(self, look: Look, layout: TrueLayout) -> None:
        on = [tile for tile in layout.tiles if tile.camera_on(look.time_s)]
        off = [tile for tile in layout.tiles if not tile.camera_on(look.time_s)]
        overlap = np.array(
            [[max(iou(found.xyxy, tile.rect), iou(found.xyxy, tile.content)) for found in look.tiles] for tile in on]
        ).reshape(len(on), len(look.tiles))
        # Right tiles first, however much another choice would add to the sum of what is not right.
        rows, columns = linear_sum_assignment(overlap + len(on) * (overlap >= RIGHT_IOU), maximize=True)
        pairs = list(zip(rows.tolist(), columns.tolist(), strict=True))
        right = {row: column for row, column in pairs if overlap[row, column] >= RIGHT_IOU}
        rest = [found for column, found in enumerate(look.tiles) if column not in right.values()]
        self.time_s = look.time_s
        self.has_moved = not layout.sets_out(look.time_s)
        self.wanted = tuple(tile.person for tile in on)
        self.n_right = len(right)
        self.ids: Mapping[str, str] = {
            on[row].person: look.tiles[column].participant
            for row, column in right.items()
            if look.tiles[column].certain
        }
        self.overlaps = [float(overlap[row, column]) for row, column in pairs]
        self.n_false = sum(not any(_lies_on(found.xyxy, tile.rect) for tile in off) for found in rest)

    def right_with(self, known: Mapping[str, str]) -> bool:
        """Whether everybody's tile is right, with the id known from before, and newcomers with nobody else's."""
        taken = {participant: person for person, participant in known.items()}
        # As many different ids as people: nobody is found twice, and everybody is found.
        return len(set(self.ids.values())) == len(self.wanted) and all(
            known.get(person, participant) == participant and taken.get(participant, person) == person
            for person, participant in self.ids.items()
        )


def _figures(scored: Sequence[_Scored]) -> TileFigures:
    n_tiles = sum(len(one.wanted) for one in scored)
    n_right = sum(one.n_right for one in scored)
    n_found = n_right + sum(one.n_false for one in scored)
    return TileFigures(
        n_seconds=len(scored),
        n_tiles=n_tiles,
        n_found=n_found,
        n_right=n_right,
        recall=_share(n_right, n_tiles),
        precision=_share(n_right, n_found),
        mean_iou=_share(sum(sum(one.overlaps) for one in scored), n_tiles),
    )


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def _layout_at(truth: Sequence[TrueLayout], time_s: float) -> TrueLayout | None:
    """What stands at this time; as tiles set out, who was there before still is where they were."""
    index = bisect_right([layout.t0 for layout in truth], time_s) - 1
    if index < 0 or time_s >= truth[index].t1:
        return None
    layout = truth[index]
    if index == 0 or not layout.sets_out(time_s):
        return layout
    was = {tile.person: tile for tile in truth[index - 1].tiles}
    tiles = (
        replace(tile, rect=before.rect, content=before.content) if (before := was.get(tile.person)) else tile
        for tile in layout.tiles
    )
    return replace(layout, tiles=tuple(tiles))


def _places(layout: TrueLayout) -> frozenset[tuple[str, Box]]:
    """Who is where: a camera that goes off or on in its place is no re-flow."""
    return frozenset((tile.person, tile.rect) for tile in layout.tiles)


def _one_a_second(scored: Sequence[_Scored]) -> list[_Scored]:
    """Of each second the look nearest to its middle, the earlier of two."""
    best: dict[int, _Scored] = {}
    for one in scored:
        second = int(one.time_s)
        held = best.get(second)
        if held is None or abs(one.time_s - second - 0.5) < abs(held.time_s - second - 0.5):
            best[second] = one
    return [best[second] for second in sorted(best)]


def _last_ids(scored: Sequence[_Scored]) -> dict[str, str]:
    """The id each person was last matched with."""
    known: dict[str, str] = {}
    for one in scored:
        known.update(one.ids)
    return known


def _kept(truth: Sequence[TrueLayout], at: float, known: Mapping[str, str], after: Sequence[_Scored]) -> Iterator[bool]:
    """For everybody who was known in the layout before, and is wanted after: whether the id is the same.

    What counts is the first right tile of the person once ids may have settled; without one the id is lost.
    """
    before = next(layout for layout in reversed(truth) if layout.t0 < at)
    for person in sorted({tile.person for tile in before.tiles} & known.keys()):
        if any(person in one.wanted for one in after):
            yield next((one.ids[person] for one in after if person in one.ids), None) == known[person]


def _lies_on(found: Box, tile: Box) -> bool:
    width = min(found[2], tile[2]) - max(found[0], tile[0])
    height = min(found[3], tile[3]) - max(found[1], tile[1])
    area = (found[2] - found[0]) * (found[3] - found[1])
    return width > 0 and height > 0 and width * height >= LIES_ON * area


def truth_from_json(data: object) -> tuple[TrueLayout, ...]:
    """The layouts of a truth file as `json.load` reads it, in the order of time.

    A tile's camera is off while the tile says `"camera": "off"` or a segment of its person does. `reflow_s` of a layout
    may be left out: then its tiles stand at once.

    Raises:
        ValueError: Something that is needed is missing or not of its kind; the message names the place.
    """
    layouts = _list(_field(data, "layout", "the file"), "layout")
    people = _object(data, "the file").get("people", {})
    read = []
    for i, layout in enumerate(layouts):
        at = f"layout[{i}]"
        t0, t1 = (_number(_field(layout, key, at), f"{at}.{key}") for key in ("t0", "t1"))
        if t0 >= t1:
            msg = f"{at}: ends at {t1} s, not after its start at {t0} s"
            raise ValueError(msg)
        tiles = [
            _tile(tile, f"{at}.tiles[{j}]", (t0, t1), people)
            for j, tile in enumerate(_list(_field(layout, "tiles", at), f"{at}.tiles"))
        ]
        reflow_s = _number(_object(layout, at).get("reflow_s", 0), f"{at}.reflow_s")
        read.append(TrueLayout(t0, t1, tuple(tiles), reflow_s))
    if not read:
        msg = "layout: is empty; a truth has at least one layout"
        raise ValueError(msg)
    for before, after in pairwise(read):
        if after.t0 < before.t1:
            msg = f"layout: the one from {after.t0} s begins before the one before it ends, at {before.t1} s"
            raise ValueError(msg)
    return tuple(read)


def _tile(data: object, at: str, span: tuple[float, float], people: object) -> TrueTile:
    person = _field(data, "person", at)
    if not isinstance(person, str):
        msg = f"{at}.person: a person is a key of `people`, not {person!r}"
        raise ValueError(msg)  # noqa: TRY004 (what is wrong is the file)
    tile = _object(data, at)
    rect = _box(_field(data, "rect", at), f"{at}.rect")
    content = _box(tile["content_rect"], f"{at}.content_rect") if tile.get("content_rect") else rect
    off = [span] if tile.get("camera") == "off" else _off_spans(_object(people, "people").get(person, {}), person)
    return TrueTile(person, rect, content, tuple(off))


def _off_spans(data: object, person: str) -> list[tuple[float, float]]:
    """When the person's segments say that the camera is off."""
    at = f"people.{person}"
    spans = []
    for i, segment in enumerate(_list(_object(data, at).get("segments", []), f"{at}.segments")):
        if _object(segment, f"{at}.segments[{i}]").get("camera") == "off":
            t0, t1 = (_number(_field(segment, key, f"{at}.segments[{i}]"), at) for key in ("t0", "t1"))
            spans.append((t0, t1))
    return spans


def _object(data: object, at: str) -> Mapping[str, object]:
    if not isinstance(data, dict):
        msg = f"{at}: is no object"
        raise ValueError(msg)  # noqa: TRY004 (what is wrong is the file)
    return data


def _field(data: object, key: str, at: str) -> object:
    if key not in (found := _object(data, at)):
        msg = f"{at}: has no `{key}`"
        raise ValueError(msg)
    return found[key]


def _list(data: object, at: str) -> list[object]:
    if not isinstance(data, list):
        msg = f"{at}: is no list"
        raise ValueError(msg)  # noqa: TRY004 (what is wrong is the file)
    return data


def _number(data: object, at: str) -> float:
    if isinstance(data, bool) or not isinstance(data, int | float):
        msg = f"{at}: {data!r} is no number"
        raise ValueError(msg)  # noqa: TRY004 (what is wrong is the file)
    return float(data)


def _box(data: object, at: str) -> Box:
    """[x, y, width, height] as corners."""
    values = [_number(value, at) for value in _list(data, at)]
    if len(values) != 4 or min(values[2:]) <= 0:  # noqa: PLR2004
        msg = f"{at}: {data} is no [x, y, width, height] with a width and a height"
        raise ValueError(msg)
    x, y, width, height = (round(value) for value in values)
    return x, y, x + width, y + height
