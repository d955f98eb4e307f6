"""Sub-groups that feel differently, and whether that lasts."""

import numpy as np
import pytest
from builders import p
from hypothesis import given
from hypothesis import strategies as st

from pipeline.emotions import F64
from pipeline.polarisation import (
    PolarisationSettings,
    Polariser,
    Split,
    _k_means,
    _silhouettes,
    polarised_event,
    split,
)
from pipeline.types import Event, Polarisation

NEUTRAL, HAPPY, SAD = p(), p(happiness=1.0), p(sadness=1.0)


def test_two_and_two_by_hand() -> None:
    """Happiness 0.9 and 0.8 against 0.1 and 0: centroids 0.85 and 0.05, 0.8 apart on two axes: 0.8 sqrt(2)."""
    rows = np.array([p(happiness=0.9), p(happiness=0.1), p(happiness=0.8), NEUTRAL])
    found = split(rows)
    assert found is not None
    assert found.clusters == ((0, 2), (1, 3))
    assert found.distance == pytest.approx(0.8 * 2**0.5)


def test_the_silhouette_by_hand() -> None:
    """On a line 0, 1, 5, 6 and 20 alone, distances / 10.

    For 0: a = 1, b = min(5.5, 20): 4.5 / 5.5. For 1: a = 1, b = 4.5: 3.5 / 4.5. For 5 and 6 the same from the other
    side: b = 4.5 and 5.5. Alone: 0.
    """
    line = np.array([0.0, 1.0, 5.0, 6.0, 20.0]) / 10
    apart = np.abs(line[:, None] - line[None])
    expected = (0.8181818, 0.7777778, 0.7777778, 0.8181818, 0.0)
    np.testing.assert_allclose(_silhouettes(apart, np.array([0, 0, 1, 1, 2])), expected, atol=1e-7)


def test_the_same_for_all_has_no_width() -> None:
    """Members without any distance have a silhouette of 0, not a division by zero."""
    assert _silhouettes(np.zeros((4, 4)), np.array([0, 0, 1, 1])).tolist() == [0.0] * 4


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_fewer_than_four_are_no_two_sides(n: int) -> None:
    """At least two on each side."""
    assert split(np.array([HAPPY, SAD, NEUTRAL])[:n].reshape(n, 7)) is None


def test_one_against_the_others_is_no_side() -> None:
    """Three neutral and one happy; of five the fifth may lean to a side."""
    assert split(np.array([NEUTRAL, NEUTRAL, NEUTRAL, HAPPY])) is None
    found = split(np.array([NEUTRAL, NEUTRAL, p(happiness=0.2), HAPPY, HAPPY]))
    assert found is not None
    assert found.clusters == ((0, 1, 2), (3, 4))


def test_a_blur_is_one_group() -> None:
    """Evenly spread members have no split with a silhouette of 0.5."""
    assert split(np.array([p(happiness=share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)])) is None


def test_near_sides_are_one_group() -> None:
    """0.28 sqrt(2) = 0.396 between the centroids is below 0.4, though two members are farther apart."""
    rows = np.array([p(happiness=share) for share in (0.0, 0.02, 0.28, 0.3)])
    assert split(rows) is None
    assert split(rows, PolarisationSettings(distance=0.39)) is not None


def test_three_sides_of_a_larger_group() -> None:
    """K-means with the k of the best silhouette; largest first."""
    rows = np.array([SAD, HAPPY, NEUTRAL, HAPPY, SAD, HAPPY, NEUTRAL])
    found = split(rows)
    assert found == Split(((1, 3, 5), (0, 4), (2, 6)), pytest.approx(2**0.5))


def test_one_odd_member_of_many_belongs_to_none() -> None:
    """Three and three, and somebody who is angry alone."""
    found = split(np.array([HAPPY, HAPPY, HAPPY, SAD, SAD, SAD, p(anger=1.0)]))
    assert found is not None
    assert found.clusters == ((0, 1, 2), (3, 4, 5))


def test_two_pairs_among_many_are_no_sides() -> None:
    """Two happy, two sad, and three or four who each feel something else: these are no sub-group, though no other is."""
    alone = [p(anger=1.0), p(disgust=1.0), p(fear=1.0), p(surprise=1.0)]
    assert split(np.array([HAPPY, HAPPY, SAD, SAD, *alone])) is None
    assert split(np.array([HAPPY, HAPPY, HAPPY, HAPPY, *alone[:3]])) is None
    found = split(np.array([HAPPY, HAPPY, SAD, SAD, *alone]), PolarisationSettings(cover=0.5))
    assert found is not None
    assert found.clusters == ((0, 1), (2, 3))


@pytest.mark.parametrize(("n_sad", "expected"), [(3, None), (4, None), (5, (15, 5))])
def test_a_few_of_many_are_no_sub_group(n_sad: int, expected: tuple[int, int] | None) -> None:
    """Of twenty five are a quarter; fewer who look the same may as well be misread."""
    found = split(np.array([HAPPY] * (20 - n_sad) + [SAD] * n_sad))
    assert (None if found is None else tuple(len(cluster) for cluster in found.clusters)) == expected


def test_two_kinds_of_equals_have_no_third() -> None:
    """Three happy and three sad without any noise: k-means does not look for more sub-groups than there are."""
    found = split(np.array([HAPPY, SAD] * 3))
    assert found is not None
    assert found.clusters == ((0, 2, 4), (1, 3, 5))


def test_k_means_stops_in_time() -> None:
    """After the rounds that are allowed it says what it has; more of them bring members nearer to their centroids."""
    rows = np.random.default_rng(2).dirichlet(np.ones(7), size=40)
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)

    def spread(rounds: int) -> float:
        labels = _k_means(rows, apart, PolarisationSettings(rounds=rounds, largest_k=2))[0]
        return sum(float(((rows[labels == k] - rows[labels == k].mean(axis=0)) ** 2).sum()) for k in (0, 1))

    assert spread(0) > spread(1) > spread(20) == spread(50)


@pytest.mark.parametrize("shape", [(7,), (5, 3)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    """Rows of seven."""
    with pytest.raises(ValueError, match=r"distributions: expected shape \(n, 7\)"):
        split(np.zeros(shape))


ROW = st.tuples(st.integers(0, 6), st.floats(0, 1)).map(lambda x: (1 - x[1]) * NEUTRAL + x[1] * np.eye(7)[x[0]])


@given(st.lists(ROW, min_size=4, max_size=12, unique_by=tuple), st.randoms())
def test_the_order_of_members_does_not_matter(rows: list[F64], random: object) -> None:
    """To the last bit; each member is in at most one sub-group of at least two; twice the same."""
    order = list(range(len(rows)))
    random.shuffle(order)
    one, other = split(np.array(rows)), split(np.array([rows[i] for i in order]))
    assert one == split(np.array(rows))
    if one is None or other is None:
        assert one is other is None
        return
    assert one.distance == other.distance >= 0.4
    named = {frozenset(order[i] for i in cluster) for cluster in other.clusters}
    assert named == {frozenset(cluster) for cluster in one.clusters}
    inside = [i for cluster in one.clusters for i in cluster]
    assert len(inside) == len(set(inside)) >= 4
    assert min(len(cluster) for cluster in one.clusters) >= 2


def run(series: list[dict[str, F64]]) -> tuple[list[Polarisation], list[Event]]:
    """What is said in each second, and all events."""
    polariser = Polariser()
    said, events = [], []
    for second, rows in enumerate(series):
        now, happened = polariser.add(second, rows)
        said.append(now)
        events += happened
    return said, events


ONE = dict.fromkeys("abcd", NEUTRAL)
TWO = {"a": HAPPY, "b": HAPPY, "c": SAD, "d": SAD}
SIDES = (("a", "b"), ("c", "d"))


def test_polarised_after_five_seconds_and_not_before() -> None:
    """One group until 9, two from 10: the mean of 3 s is split at once, it is said at 14, dated 10; the end likewise.

    From 30 on all are neutral: the mean is still split at 30, 2/3 of the way out, and at 31, 1/3 of sqrt(2) = 0.47;
    from 32 it is not, which is said at 36.
    """
    said, events = run([ONE] * 10 + [TWO] * 20 + [ONE] * 10)
    assert [second for second, one in enumerate(said) if one.clusters] == list(range(14, 36))
    assert [(event.kind, event.time_s, event.data["polarised"]) for event in events] == [
        ("polarised", 10.0, True),
        ("polarised", 32.0, False),
    ]
    assert events[0].participants == ("a", "b", "c", "d")
    assert events[0].data["clusters"] == [["a", "b"], ["c", "d"]]
    assert (events[1].participants, events[1].data["clusters"], events[1].data["distance"]) == ((), [], 0.0)
    assert said[29] == Polarisation(SIDES, pytest.approx(2**0.5))


def test_four_seconds_are_not_enough() -> None:
    """With the mean of three seconds, two seconds of two sides last four."""
    assert run([ONE] * 10 + [TWO] * 2 + [ONE] * 10)[1] == []


def test_one_member_who_crosses_over_for_a_moment_ends_nothing() -> None:
    """Nor does one who is not to be seen: sub-groups stay as they were."""
    crossed = {**TWO, "b": SAD}
    unseen = {who: row for who, row in TWO.items() if who != "d"}
    said, events = run([TWO] * 10 + [crossed] + [TWO] * 5 + [unseen] * 3 + [{}] + [TWO] * 5)
    assert len(events) == 1
    assert {one.clusters for one in said[4:]} == {SIDES}


def test_who_crosses_over_for_good_is_told() -> None:
    """Five members, of whom one changes sides: still polarised, with other sub-groups, larger first."""
    before = {**TWO, "e": HAPPY}
    after = {**TWO, "e": SAD}
    said, events = run([before] * 8 + [after] * 6)
    assert len(events) == 1
    assert said[7].clusters == (("a", "b", "e"), ("c", "d"))
    assert said[-1].clusters == (("c", "d", "e"), ("a", "b"))


def test_the_event_is_rounded() -> None:
    """Six digits, like all that is published."""
    event = polarised_event(3, Polarisation((("b", "c"), ("a", "d")), 0.123456789))
    assert event.participants == ("a", "b", "c", "d")
    assert dict(event.data) == {"polarised": True, "clusters": [["b", "c"], ["a", "d"]], "distance": 0.123457}


def test_memory_is_bounded() -> None:
    """Three seconds of readings are kept."""
    polariser = Polariser()
    for second in range(100):
        polariser.add(second, TWO)
    assert len(polariser._recent) == 3


@given(st.lists(st.dictionaries(st.sampled_from("abcdefgh"), ROW), max_size=40), st.randoms())
def test_the_order_of_a_mapping_does_not_matter(series: list[dict[str, F64]], random: object) -> None:
    """Shuffled mappings say the same; events alternate."""
    shuffled = []
    for rows in series:
        names = list(rows)
        random.shuffle(names)
        shuffled.append({name: rows[name] for name in names})
    said, events = run(series)
    assert (said, events) == run(shuffled)
    assert [event.data["polarised"] for event in events] == [i % 2 == 0 for i in range(len(events))]


def test_settings_are_the_documented_ones() -> None:
    """Algorithm 7 of the design."""
    assert PolarisationSettings() == PolarisationSettings(0.5, 0.4, 0.2, 0.25, 0.8, 5, 4, 20, 3, 5)
