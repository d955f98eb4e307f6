"""Figures of found tiles against the truth: small cases worked by hand, and what holds for all."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tracking import FoundTile, GalleryFigures, Look, TrueLayout, TrueTile, measure_gallery, truth_from_json
from pipeline.types import Box

LEFT: Box = (0, 0, 100, 100)
RIGHT: Box = (100, 0, 200, 100)
BELOW: Box = (0, 100, 100, 200)
PLACES = (LEFT, RIGHT, BELOW, (100, 100, 200, 200))


def layout(t0: float, t1: float, places: Mapping[str, Box]) -> TrueLayout:
    """People with whole pictures at these places."""
    return TrueLayout(t0, t1, tuple(TrueTile(person, box, box) for person, box in places.items()))


def looks(t0: float, t1: float, places: Mapping[str, Box], *, step: float = 1.0) -> list[Look]:
    """The same tiles found again and again, the first time at t0."""
    tiles = tuple(FoundTile(participant, box) for participant, box in places.items())
    return [Look(round(t0 + i * step, 3), tiles) for i in range(round((t1 - t0) / step))]


def test_all_right() -> None:
    """Two people for three seconds, where and who they are: one everywhere, no change to settle after."""
    found = measure_gallery([layout(0, 3, {"a": LEFT, "b": RIGHT})], looks(0, 3, {"1": LEFT, "2": RIGHT}))
    assert found.as_json() == {
        "recall": 1.0,
        "precision": 1.0,
        "mean_iou": 1.0,
        "id_switches": 0,
        "settle_s_max": None,
        "n_seconds": 3,
        "n_tiles": 6,
        "ids_kept": None,
        "n_changes": 0,
        "n_unsettled": 0,
        "n_shared_ids": 0,
        "settled": {"recall": 1.0, "precision": 1.0, "mean_iou": 1.0, "n_seconds": 3, "n_tiles": 6},
    }


def test_a_tile_that_is_off_counts_as_missed_and_as_false() -> None:
    """One box covers half of its tile (IoU 0.5), the other all: half found, half right, IoU 0.75 on average."""
    found = measure_gallery([layout(0, 1, {"a": LEFT, "b": RIGHT})], looks(0, 1, {"1": (0, 0, 100, 50), "2": RIGHT}))
    assert (found.tiles.recall, found.tiles.precision, found.tiles.mean_iou) == (0.5, 0.5, 0.75)
    assert (found.tiles.n_found, found.tiles.n_right) == (2, 1)


def test_an_iou_of_0_8_is_right() -> None:
    """A box of four fifths of the tile within it has exactly that IoU; a line less is wrong."""
    truth = [layout(0, 1, {"a": LEFT})]
    assert measure_gallery(truth, looks(0, 1, {"1": (0, 0, 80, 100)})).tiles.recall == 1
    assert measure_gallery(truth, looks(0, 1, {"1": (0, 0, 79, 100)})).tiles.recall == 0


def test_the_picture_within_its_bars_is_as_good_as_the_tile() -> None:
    """A tall picture in a wide tile: whoever finds the picture has found the tile."""
    truth = [TrueLayout(0, 1, (TrueTile("a", (0, 0, 200, 100), (50, 0, 110, 100)),))]
    assert measure_gallery(truth, looks(0, 1, {"1": (50, 0, 110, 100)})).tiles.mean_iou == 1
    assert measure_gallery(truth, looks(0, 1, {"1": (0, 0, 200, 100)})).tiles.mean_iou == 1


def test_two_boxes_for_one_person_are_one_too_many() -> None:
    """Tile and picture both found: one is right, the other nobody's."""
    truth = [TrueLayout(0, 1, (TrueTile("a", (0, 0, 200, 100), (50, 0, 110, 100)),))]
    found = measure_gallery(truth, looks(0, 1, {"1": (50, 0, 110, 100), "2": (0, 0, 200, 100)}))
    assert (found.tiles.recall, found.tiles.precision) == (1, 0.5)


def test_a_tile_that_is_right_is_never_given_away_for_a_larger_sum() -> None:
    """Box 1 fits a at 0.8 and b at 0.7, box 2 fits only a, at 0.79: 0.79 + 0.7 is more than 0.8, but finds nobody."""
    truth = [layout(0, 1, {"a": (0, 0, 100, 100), "b": (0, 0, 56, 100)})]
    found = measure_gallery(truth, looks(0, 1, {"1": (0, 0, 80, 100), "2": (0, 21, 100, 100)}))
    assert found.tiles.n_right == 1


def test_who_has_the_camera_off_counts_neither_way() -> None:
    """Not wanted, and no mistake where found; a box beside it is one."""
    tiles = (TrueTile("a", LEFT, LEFT), TrueTile("b", RIGHT, RIGHT, off=((0.0, 2.0),)))
    truth = [TrueLayout(0, 4, tiles)]
    found = measure_gallery(truth, looks(0, 4, {"1": LEFT, "2": (110, 10, 190, 90)}))
    assert (found.tiles.n_tiles, found.tiles.n_found, found.tiles.recall) == (6, 6, pytest.approx(4 / 6))
    beside = measure_gallery(truth, looks(0, 1, {"1": LEFT, "2": (160, 0, 260, 100)}))
    assert beside.tiles.precision == 0.5


def test_nobody_to_find_and_nothing_found() -> None:
    """Shares of nothing are nothing, not 0 or 1."""
    found = measure_gallery([layout(0, 2, {})], looks(0, 2, {}))
    assert (found.tiles.recall, found.tiles.precision, found.tiles.mean_iou) == (None, None, None)
    assert measure_gallery([layout(0, 2, {})], looks(0, 2, {"1": LEFT})).tiles.precision == 0


def test_looks_outside_the_truth_are_left_out() -> None:
    """Before the first layout, between two and after the last nobody knows what is right."""
    truth = [layout(1, 2, {"a": LEFT}), layout(3, 4, {"a": LEFT})]
    assert measure_gallery(truth, looks(0, 6, {"1": LEFT})).tiles.n_seconds == 2


def test_the_middle_of_a_second_stands_for_it() -> None:
    """Of five looks a second the third counts (0.4), for it is as near to the middle as the fourth and earlier."""
    right = {0.4}
    seen = [
        Look(i / 5, (FoundTile("1", LEFT if i / 5 in right else RIGHT),))
        for i in range(5)
    ]  # fmt: skip
    assert measure_gallery([layout(0, 1, {"a": LEFT})], seen).tiles.recall == 1


def test_ids_that_change_places_are_two_switches() -> None:
    """Each person is matched with another id than before, and each id stood for two people."""
    truth = [layout(0, 4, {"a": LEFT, "b": RIGHT})]
    found = measure_gallery(truth, looks(0, 2, {"1": LEFT, "2": RIGHT}) + looks(2, 4, {"2": LEFT, "1": RIGHT}))
    assert (found.id_switches, found.n_shared_ids) == (2, 2)


def test_who_is_not_certain_is_said_to_be_nobody() -> None:
    """Their tile is right, the id is neither a switch nor settled."""
    truth = [layout(0, 2, {"a": LEFT}), layout(2, 4, {"a": RIGHT})]
    unsure = [Look(2.0, (FoundTile("2", RIGHT, certain=False),)), Look(3.0, (FoundTile("1", RIGHT),))]
    found = measure_gallery(truth, looks(0, 2, {"1": LEFT}) + unsure)
    assert (found.tiles.n_right, found.id_switches, found.settle_s) == (4, 0, (1.0,))


def test_an_id_that_comes_back_is_no_switch() -> None:
    """A tile that was missed in between is matched with the id of the last match."""
    truth = [layout(0, 3, {"a": LEFT})]
    assert measure_gallery(truth, looks(0, 1, {"1": LEFT}) + looks(2, 3, {"1": LEFT})).id_switches == 0


def swapped(
    late_s: float, ids: tuple[str, str] = ("1", "2"), *, newcomer: str | None = None, end: float = 10
) -> GalleryFigures:
    """Two people swap places at 5 s, perhaps a third comes; five looks a second see it `late_s` later."""
    after = {"a": RIGHT, "b": LEFT} | ({"c": BELOW} if newcomer else {})
    found_after = {ids[0]: RIGHT, ids[1]: LEFT} | ({newcomer: BELOW} if newcomer else {})
    seen = looks(0, 5 + late_s, {"1": LEFT, "2": RIGHT}, step=0.2) + looks(5 + late_s, end, found_after, step=0.2)
    return measure_gallery([layout(0, 5, {"a": LEFT, "b": RIGHT}), layout(5, end, after)], seen)


def test_settling_is_timed_from_the_change() -> None:
    """Ids that follow their people 1.2 s after the swap: the second of the swap is wrong, then all is right.

    In that second both tiles are found, with each other's ids: two switches there, and two back.
    """
    found = swapped(1.2)
    assert (found.n_changes, found.settle_s, found.n_unsettled) == (1, (1.2,), 0)
    assert (found.n_pairs, found.n_kept, found.id_switches) == (2, 2, 4)
    assert (found.tiles.n_seconds, found.settled.n_seconds) == (10, 8)
    assert swapped(0).settle_s == (0.0,)


def test_tiles_that_set_out_are_where_they_were() -> None:
    """In the first picture of a re-flow that takes time: only the newcomer has another's id, and nothing has settled."""
    places = [{"a": LEFT, "b": RIGHT, "d": BELOW}, {"b": LEFT, "a": RIGHT, "c": BELOW}]
    truth = [layout(0, 5, places[0]), replace(layout(5, 10, places[1]), reflow_s=0.3)]
    found = [{"1": LEFT, "2": RIGHT, "3": BELOW}, {"2": LEFT, "1": RIGHT, "4": BELOW}]
    late = measure_gallery(truth, [*looks(0, 6, found[0]), *looks(6, 10, found[1])])
    assert (late.id_switches, late.n_shared_ids, late.settle_s) == (1, 1, (1.0,))
    at_once = measure_gallery([truth[0], layout(5, 10, places[1])], [*looks(0, 6, found[0]), *looks(6, 10, found[1])])
    assert (at_once.id_switches, at_once.n_shared_ids, at_once.settle_s) == (5, 3, (1.0,))
    first = measure_gallery([replace(truth[1], t0=0.0)], looks(0, 5, found[1]))
    assert first.tiles.recall == 1


def test_ids_that_stay_with_the_places_never_settle() -> None:
    """As long as that layout stands nobody carries the right id: five seconds are what is known."""
    found = swapped(0, ("2", "1"))
    assert (found.settle_s, found.n_unsettled, found.n_pairs, found.n_kept) == ((5.0,), 1, 2, 0)
    assert found.as_json()["ids_kept"] == 0


def test_a_newcomer_has_an_id_of_nobody_else() -> None:
    """Any new id will do; that of somebody who was there before will not."""
    assert swapped(0.4, newcomer="3").settle_s == (0.4,)
    truth = [layout(0, 5, {"a": LEFT, "b": RIGHT}), layout(5, 10, {"a": LEFT, "c": RIGHT})]
    inherited = measure_gallery(truth, looks(0, 10, {"1": LEFT, "2": RIGHT}))
    assert (inherited.n_unsettled, inherited.n_shared_ids, inherited.n_pairs) == (1, 1, 1)


def test_two_newcomers_do_not_share_an_id() -> None:
    """Both tiles are right, with one id: that is not settled."""
    truth = [layout(0, 5, {"a": LEFT}), layout(5, 10, {"b": LEFT, "c": RIGHT})]
    both = [Look(5.0 + i, (FoundTile("3", LEFT), FoundTile("3", RIGHT))) for i in range(5)]
    assert measure_gallery(truth, looks(0, 5, {"1": LEFT}) + both).n_unsettled == 1


def test_a_tile_that_is_not_found_after_a_change_has_lost_its_id() -> None:
    """Somebody wanted and never right counts as not kept; somebody no longer there counts in no way."""
    truth = [layout(0, 5, {"a": LEFT, "b": RIGHT}), layout(5, 10, {"a": BELOW})]
    found = measure_gallery(truth, looks(0, 10, {"1": LEFT, "2": RIGHT}))
    assert (found.n_pairs, found.n_kept, found.n_unsettled) == (1, 0, 1)


def test_a_change_to_nobody_needs_no_settling() -> None:
    """Nobody with a camera afterwards: there is nothing that could be right."""
    truth = [layout(0, 5, {"a": LEFT}), layout(5, 10, {}), layout(10, 15, {"a": LEFT})]
    found = measure_gallery(truth, looks(0, 5, {"1": LEFT}) + looks(5, 10, {}) + looks(10, 15, {"1": LEFT}))
    assert (found.n_changes, found.settle_s, found.id_switches) == (2, (0.0,), 0)


def test_a_camera_that_goes_off_in_its_place_is_no_change() -> None:
    """Two layouts of the same people in the same places."""
    off = TrueLayout(5, 10, (TrueTile("a", LEFT, LEFT, off=((5.0, 10.0),)),))
    assert measure_gallery([layout(0, 5, {"a": LEFT}), off], looks(0, 10, {"1": LEFT})).n_changes == 0


@st.composite
def meetings(draw: st.DrawFn) -> list[TrueLayout]:
    """Up to four layouts of five seconds, up to four of six people in each."""
    layouts = []
    for number in range(draw(st.integers(1, 4))):
        people = draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=4))
        layouts.append(
            layout(5 * number, 5 * number + 5, dict(zip(people, draw(st.permutations(PLACES)), strict=False)))
        )
    return layouts


def as_found(truth: Sequence[TrueLayout], name: Callable[[str], str] = str.upper) -> list[Look]:
    """The truth itself, once a second, tiles from the last to the first."""
    return [
        Look(one.t0 + i, tuple(FoundTile(name(tile.person), tile.rect) for tile in reversed(one.tiles)))
        for one in truth
        for i in range(5)
    ]


@given(meetings())
def test_the_truth_itself_is_without_fault(truth: list[TrueLayout]) -> None:
    """Whatever happens: all found, nothing else, no switch, settled at once, all ids kept."""
    found = measure_gallery(truth, as_found(truth))
    assert found.tiles.recall in {1, None}
    assert found.tiles.precision in {1, None}
    assert (found.id_switches, found.n_shared_ids, found.n_unsettled) == (0, 0, 0)
    assert set(found.settle_s) <= {0.0}
    assert found.n_kept == found.n_pairs


@given(meetings(), meetings())
def test_names_do_not_matter_and_shares_are_shares(truth: list[TrueLayout], other: list[TrueLayout]) -> None:
    """Another seed for the ids changes no figure; figures stay in their ranges whatever was found."""
    found = measure_gallery(truth, as_found(other))
    assert measure_gallery(truth, as_found(other, lambda person: f"p-{person}")) == found
    for figures in (found.tiles, found.settled):
        for share in (figures.recall, figures.precision, figures.mean_iou):
            assert share is None or 0 <= share <= 1
        assert figures.n_right <= min(figures.n_tiles, figures.n_found)
    assert 0 <= found.n_kept <= found.n_pairs
    assert all(0 <= one <= 5 * len(truth) for one in found.settle_s)


TRUTH: dict[str, Any] = {
    "people": {"p1": {"segments": [{"t0": 0, "t1": 2, "camera": "off"}, {"t0": 2, "t1": 5, "camera": "on"}]}},
    "layout": [
        {
            "t0": 0,
            "t1": 5,
            "tiles": [
                {"person": "p1", "rect": [10, 20, 30, 40]},
                {"person": "p2", "rect": [50, 20, 30, 40], "content_rect": [55, 20, 20, 40], "camera": "off"},
            ],
        },
        {"t0": 5, "t1": 9.5, "tiles": [], "reflow_s": 0.4},
    ],
}


def test_a_truth_is_read() -> None:
    """Rectangles become corners, the picture is the tile where nothing else is said, cameras are off where told."""
    assert truth_from_json(TRUTH) == (
        TrueLayout(
            0.0,
            5.0,
            (
                TrueTile("p1", (10, 20, 40, 60), (10, 20, 40, 60), off=((0.0, 2.0),)),
                TrueTile("p2", (50, 20, 80, 60), (55, 20, 75, 60), off=((0.0, 5.0),)),
            ),
        ),
        TrueLayout(5.0, 9.5, (), 0.4),
    )
    without_people = {key: value for key, value in TRUTH.items() if key != "people"}
    assert truth_from_json(without_people)[0].tiles[0].off == ()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ([], [], "the file: is no object"),
        (["layout"], None, "layout: is no list"),
        (["layout"], [], "layout: is empty; a truth has at least one layout"),
        (["layout", 0], 7, r"layout\[0\]: is no object"),
        (["layout", 0, "t0"], "now", r"layout\[0\].t0: 'now' is no number"),
        (["layout", 0, "t1"], True, r"layout\[0\].t1: True is no number"),
        (["layout", 0, "t1"], 0, r"layout\[0\]: ends at 0.0 s, not after its start at 0.0 s"),
        (["layout", 0, "t1"], 6, "begins before the one before it ends, at 6.0 s"),
        (["layout", 0, "reflow_s"], "soon", r"layout\[0\].reflow_s: 'soon' is no number"),
        (["layout", 0, "tiles"], {}, r"layout\[0\].tiles: is no list"),
        (["layout", 0, "tiles", 1], {"person": "p2"}, r"layout\[0\].tiles\[1\]: has no `rect`"),
        (["layout", 0, "tiles", 1, "person"], 2, "a person is a key of `people`, not 2"),
        (["layout", 0, "tiles", 1, "rect"], [1, 2, 3], r"\[1, 2, 3\] is no \[x, y, width, height\]"),
        (["layout", 0, "tiles", 1, "rect"], [1, 2, 3, 0], "with a width and a height"),
        (["layout", 0, "tiles", 1, "content_rect"], ["a"], r"tiles\[1\].content_rect: 'a' is no number"),
        (["people"], [], "people: is no object"),
        (["people", "p1"], 1, "people.p1: is no object"),
        (["people", "p1", "segments"], 1, "people.p1.segments: is no list"),
        (["people", "p1", "segments", 1], 1, r"people.p1.segments\[1\]: is no object"),
        (["people", "p1", "segments", 0], {"camera": "off"}, r"people.p1.segments\[0\]: has no `t0`"),
    ],
)
def test_mistakes_in_a_truth_are_named_with_their_place(path: list[Any], value: object, message: str) -> None:
    """One line that says where."""
    data: Any = copy.deepcopy(TRUTH)
    if path:
        at = data
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
    else:
        data = value
    with pytest.raises(ValueError, match=message):
        truth_from_json(data)
