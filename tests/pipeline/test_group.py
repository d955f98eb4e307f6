"""The group."""

import numpy as np
import pytest
from builders import fused, p
from hypothesis import given
from hypothesis import strategies as st

from pipeline.group import GroupSettings, dominant, synthesise


def test_a_group_of_three_with_one_absent_by_hand() -> None:
    """(0.8 happy, 0.2 neutral) and (0.2 happy, 0.8 sad) sum to (1.0, 0.2, 0.8) / 2 = (0.5, 0.1, 0.4).

    Both lie sqrt(0.3^2 + 0.1^2 + 0.4^2) = sqrt(0.26) = 0.509902 from it. Happiness 0.5 and sadness 0.4 are
    dominant: both are at least 0.25 and at least 0.6 x 0.5.
    """
    readings = [fused("a", 4, p(happiness=0.8)), fused("b", 4, None), fused("c", 4, p(happiness=0.2, sadness=0.8))]
    group = synthesise(4, readings)
    np.testing.assert_allclose(group.probabilities, p(happiness=0.5, sadness=0.4), atol=1e-12)
    assert (
        group.second,
        group.members,
        group.engaged,
        group.excluded,
    ) == (4, ("a", "b", "c"), ("a", "c"), {"b": "no_face"})
    assert group.dominant == ("happiness", "sadness")
    assert {"a": pytest.approx(0.509902), "c": pytest.approx(0.509902)} == group.deviation


def test_who_did_not_consent_is_excluded_for_that_reason() -> None:
    """A member who may not be read is told from one whose face was not found."""
    readings = [fused("a", 0, p()), fused("b", 0, p()), fused("c", 0, None)]
    assert synthesise(0, readings, unread={"c": "no_consent"}).excluded == {"c": "no_consent"}


def test_the_unengaged_are_left_out_and_said_to_be() -> None:
    """They stay members; who has no reading is left out for that reason; the rest makes the group."""
    readings = [fused("a", 0, p(happiness=1.0)), fused("b", 0, p(sadness=1.0)), fused("c", 0, None), fused("d", 0, p())]
    group = synthesise(0, readings, unengaged={"b", "c"})
    assert (group.members, group.engaged) == (("a", "b", "c", "d"), ("a", "d"))
    assert group.excluded == {"b": "unengaged", "c": "no_face"}
    np.testing.assert_allclose(group.probabilities, p(happiness=0.5), atol=1e-12)
    assert set(group.deviation) == {"a", "d"}


def test_one_person_is_no_group() -> None:
    """With a single reading there is no distribution, no dominant class, no deviation."""
    group = synthesise(0, [fused("a", 0, p(happiness=1.0)), fused("b", 0, None)])
    assert (group.probabilities, group.dominant, group.deviation) == (None, (), {})


def test_a_larger_minimum_holds() -> None:
    """Where three are asked for, two make no group."""
    readings = [fused("a", 0, p()), fused("b", 0, p())]
    assert synthesise(0, readings, GroupSettings(minimum=3)).probabilities is None


def test_dominant_needs_a_quarter() -> None:
    """0.24 is no dominant class even if nothing is larger; 0.2 beside 0.4 is below 0.6 of it."""
    assert dominant(np.array([0.24, 0.2, 0.2, 0.2, 0.16, 0.0, 0.0])) == ()
    assert dominant(p(happiness=0.4, sadness=0.2, anger=0.2, fear=0.2)) == ("happiness",)


MEMBERS = st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 6), min_size=2, max_size=9)


@given(MEMBERS, st.randoms())
def test_the_order_of_members_does_not_matter(members: dict[str, int], random: object) -> None:
    """Members in any order give the same distribution and deviations, to the last bit; it sums to one."""
    names = list(members)
    one = synthesise(0, [fused(name, 0, np.eye(7)[members[name]] * 0.7 + 0.3 / 7) for name in names])
    random.shuffle(names)
    other = synthesise(0, [fused(name, 0, np.eye(7)[members[name]] * 0.7 + 0.3 / 7) for name in names])
    assert one.probabilities.tolist() == other.probabilities.tolist()
    assert one.deviation == other.deviation
    assert one.probabilities.sum() == pytest.approx(1.0)
