"""Leave-one-out labels."""

import numpy as np
import pytest
from builders import p
from hypothesis import given
from hypothesis import strategies as st

from pipeline.emotions import F64
from pipeline.labelling import Labeller, LabelSettings, alike_others
from pipeline.types import EngagementState, GroupEngagement, GroupLabel, MemberEngagement

HAPPY, SAD, NEUTRAL = p(happiness=1.0), p(sadness=1.0), p()
AT_ONCE = LabelSettings(least_s=1)
Faces = dict[str, F64 | None]


def known(names: str, state: EngagementState = "engaged", **others: EngagementState) -> GroupEngagement:
    """Engagement of members named by letters."""
    return GroupEngagement(tuple(MemberEngagement(name, others.get(name, state)) for name in names))


def label(faces: Faces, engagement: GroupEngagement, settings: LabelSettings = AT_ONCE) -> dict[str, GroupLabel]:
    """Labels of one second in which the others are alike for everybody."""
    found = Labeller(settings).add(7, faces, engagement, dict.fromkeys(faces, True))
    assert [one.participant for one in found] == sorted({one.participant for one in found})
    return {one.participant: one for one in found}


def test_a_face_that_looks_sad_at_rest_gets_the_others_label() -> None:
    """D looks sad at rest; d's label is the mean of a, b, c: (1 + 0.8 + 0.6) / 3 = 0.8 happy.

    a, b and c are labelled too, by two of the three who are left after d, the odd one: two are fewer than three.
    """
    faces: Faces = {"d": SAD, "a": HAPPY, "b": p(happiness=0.8), "c": p(happiness=0.6)}
    found = label(faces, known("abcd"))
    assert list(found) == ["d"]
    np.testing.assert_allclose(found["d"].probabilities, p(happiness=0.8))
    assert (found["d"].n_others, found["d"].second, found["d"].confidence) == (3, 7, pytest.approx(0.8))
    assert not found["d"].probabilities.flags.writeable
    two = label(faces, known("abcd"), LabelSettings(least_s=1, least_others=2))
    assert sorted(two) == ["a", "b", "c", "d"]
    np.testing.assert_allclose(two["a"].probabilities, p(happiness=0.7))


def test_who_is_not_engaged_gets_none_and_who_is_unengaged_gives_none() -> None:
    """The unknown d counts for the others' labels; unengaged, there are only two others left."""
    faces: Faces = dict.fromkeys("abcd", HAPPY)
    assert sorted(label(faces, known("abcd", d="unknown"))) == ["a", "b", "c"]
    assert label(faces, known("abcd", d="unengaged")) == {}


def test_without_a_face_there_is_nothing_to_label() -> None:
    """The camera of d is off: the three others lack a third of their own."""
    assert label({"a": HAPPY, "b": HAPPY, "c": HAPPY, "d": None}, known("abcd")) == {}
    assert sorted(label({"a": HAPPY, "b": HAPPY, "c": HAPPY, "d": HAPPY, "e": None}, known("abcde"))) == list("abcd")


def test_others_who_are_unsure_say_nothing() -> None:
    """They agree, on 0.45 happiness at most: below 0.6."""
    assert label(dict.fromkeys("abcd", p(happiness=0.45, sadness=0.15)), known("abcd")) == {}


def test_others_who_disagree_say_nothing() -> None:
    """Two and two: of any three others two agree, fewer than three."""
    assert label({"a": HAPPY, "b": HAPPY, "c": SAD, "d": SAD}, known("abcd")) == {}


def test_more_than_half_must_be_left() -> None:
    """Of six others three are alike: enough in number, too few in share; of five they are 0.6."""
    six: Faces = {"a": NEUTRAL, "b": HAPPY, "c": HAPPY, "d": HAPPY, "e": SAD, "f": p(fear=1.0), "g": p(anger=1.0)}
    assert label(six, known("abcdefg")) == {}
    five = {name: face for name, face in six.items() if name != "g"}
    strict = LabelSettings(least_s=1, alike=0.1)
    assert sorted(label(five, known("abcdef"), strict)) == ["a", "e", "f"]


def test_agreement_must_have_lasted() -> None:
    """Labels begin when 2 of the last 4 known seconds were alike, and end when fewer were."""
    labeller = Labeller(LabelSettings(window_s=4, least_s=3, held_share=0.5))
    faces: Faces = dict.fromkeys("abcd", HAPPY)
    given = [
        bool(labeller.add(second, faces, known("abcd"), dict.fromkeys("abcd", alike)))
        for second, alike in enumerate([True, True, True, False, False, False, True])
    ]
    assert given == [False, False, True, True, True, False, False]


def test_what_is_old_is_forgotten() -> None:
    """After a gap of a window the past counts no more, and members who left are no longer kept."""
    labeller = Labeller(LabelSettings(window_s=4, least_s=2))
    faces: Faces = dict.fromkeys("abcd", HAPPY)
    assert not labeller.add(0, faces, known("abcd"), dict.fromkeys("abcd", True))
    assert len(labeller.add(1, faces, known("abcd"), dict.fromkeys("abcd", True))) == 4
    assert not labeller.add(5, faces, known("abcd"), dict.fromkeys("abc", True))
    assert sorted(labeller._alike) == ["a", "b", "c"]
    assert labeller.add(6, {}, GroupEngagement(), {}) == ()


@given(st.integers(0, 2**32 - 1), st.permutations("abcdefg"))
def test_the_order_of_members_is_irrelevant_and_ones_own_face_too(seed: int, order: list[str]) -> None:
    """To the last bit; and whatever a shows, a's label is the same."""
    rng = np.random.default_rng(seed)
    faces: Faces = dict(zip("abcdefg", rng.dirichlet([0.1, 0.1, 0.1, 3, 0.1, 0.1, 1], 7), strict=True))
    found = label(faces, known("abcdefg"))
    again = label({name: faces[name] for name in order}, known("abcdefg"))
    assert {n: one.probabilities.tobytes() for n, one in found.items()} == {
        n: one.probabilities.tobytes() for n, one in again.items()
    }
    other = label(faces | {"a": SAD}, known("abcdefg"))
    assert ("a" in found) == ("a" in other)
    if "a" in found:
        assert found["a"].probabilities.tobytes() == other["a"].probabilities.tobytes()


def test_the_odd_ones_go_one_by_one() -> None:
    """Row by row: without a the happy b, c, d are left at once of which none is odd; e leaves all other rows.

    Happy against sad is 1 bit, so a row with e has a mean of 3/6 or more over its pairs, above 0.15.
    """
    faces = np.stack([HAPPY, HAPPY, HAPPY, HAPPY, SAD])
    chosen = alike_others(faces, 0.15, 3, range(len(faces)))
    assert chosen.astype(int).tolist() == [
        [0, 1, 1, 1, 0],
        [1, 0, 1, 1, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
    ]
    assert not alike_others(faces, 0.15, 4, range(4)).any()
    np.testing.assert_array_equal(alike_others(faces, 0.15, 3, [1, 4])[[1, 4]], chosen[[1, 4]])
    assert not alike_others(faces, 0.15, 3, [4])[:4].any()
    assert not alike_others(faces, 0.15, 3, []).any()
