"""The live monitor: harm is found soon, a good head is left alone, and what was found is told once."""

import math

import numpy as np
import pytest
from builders import p
from hypothesis import given, settings
from hypothesis import strategies as st

from models.personal.monitor import DEFAULT_MONITOR, LiveMonitor, MonitorSettings
from pipeline.emotions import EMOTIONS, F64

GOOD, BAD, MIDDLE = p(happiness=0.8, sadness=0.1), p(happiness=0.1, sadness=0.8), p(happiness=0.4, sadness=0.3)
LABEL = p(happiness=1.0)


def watched(
    personal: F64, generic: F64, *, blocks: int, start: int = 0, monitor: LiveMonitor | None = None
) -> LiveMonitor:
    """A monitor after so many blocks of one label each; the last of them is still open."""
    monitor = monitor or LiveMonitor("personal-3")
    for block in range(start, start + blocks):
        monitor.add(block * 10.0 + 4, personal=personal, generic=generic, target=LABEL)
    return monitor


def test_evidence_is_worked_by_hand() -> None:
    """ln(0.8 / 0.1) = 2.08 nats a block count as 2, the limit: each stake s grows by 1 + s a block, from 1.

    After 11 blocks the mean of 1.1^11, 1.3^11, 1.6^11 and 1.9^11 is 340; after 13 it is 1172, which is more than
    1000.
    """
    found = [np.mean([(1 + s) ** n for s in (0.1, 0.3, 0.6, 0.9)]) for n in (11, 12, 13)]
    assert [round(value) for value in found] == [340, 630, 1172]
    monitor = watched(BAD, GOOD, blocks=13)
    assert (monitor.harm, monitor.n_blocks) == (None, 12)
    harm = monitor.add(130.0, personal=BAD, generic=GOOD, target=LABEL)
    assert harm is not None
    assert harm.evidence == pytest.approx(found[2])
    assert (harm.version, harm.n_blocks) == ("personal-3", 13)
    assert harm.worse_by == pytest.approx(math.log(8), abs=1e-6)
    assert harm.reason == "personal-3 was worse than the generic head on the labels of 13 blocks of time"


def test_harm_is_told_once() -> None:
    """Whoever was told rolls back; labels that are under way say nothing new."""
    monitor = watched(BAD, GOOD, blocks=14)
    assert monitor.harm is not None
    before = monitor.n_blocks
    assert monitor.add(1000.0, personal=BAD, generic=GOOD, target=LABEL) is None
    assert monitor.n_blocks == before


def test_a_head_that_was_good_for_long_is_found_as_soon() -> None:
    """A thousand good blocks do not pay for bad ones."""
    monitor = watched(GOOD, BAD, blocks=1000)
    assert monitor.harm is None
    watched(BAD, GOOD, blocks=13, start=1000, monitor=monitor)
    assert monitor.harm is None
    watched(BAD, GOOD, blocks=1, start=1013, monitor=monitor)
    assert monitor.harm is not None


def test_the_labels_of_a_block_count_as_one() -> None:
    """Ten labels of ten seconds are hardly more than one; a person's counts for three of the group's."""
    one, ten = watched(BAD, GOOD, blocks=6), LiveMonitor("personal-3")
    for second in range(60):
        ten.add(second, personal=BAD, generic=GOOD, target=LABEL)
    assert (one.n_blocks, ten.n_blocks) == (5, 5)
    assert one._wealth == pytest.approx(ten._wealth)
    mixed = LiveMonitor("personal-3")
    mixed.add(1, personal=GOOD, generic=MIDDLE, target=LABEL, human=True)
    mixed.add(2, personal=BAD, generic=MIDDLE, target=LABEL)
    mixed.add(11, personal=GOOD, generic=GOOD, target=LABEL)
    assert mixed._total == pytest.approx((3 * math.log(0.4 / 0.8) + math.log(0.4 / 0.1)) / 4, abs=1e-6)


def test_labels_that_say_nothing_are_counted() -> None:
    """Those of a block that is over."""
    monitor = watched(GOOD, GOOD, blocks=3)
    assert monitor.add(5.0, personal=BAD, generic=GOOD, target=LABEL) is None
    assert (monitor.n_late, monitor.n_blocks) == (1, 2)


def test_a_head_that_is_no_worse_is_seldom_called_harmful() -> None:
    """150 heads as good as the generic one, over 100 blocks each: at most 100 / 1000 of them may be, by the theory."""
    rng = np.random.default_rng(7)
    false = 0
    for _ in range(150):
        monitor = LiveMonitor("personal-1")
        for block in range(101):
            first, second = rng.permutation(2)
            pair = (GOOD, BAD)
            monitor.add(block * 10.0, personal=pair[first], generic=pair[second], target=LABEL)
        false += monitor.harm is not None
    assert false <= 15


def test_small_harm_is_found_too() -> None:
    """0.2 nats a block, with as much again of chance: within 200 blocks, 20 times of 20."""
    rng = np.random.default_rng(8)
    blocks = []
    for _ in range(20):
        monitor = LiveMonitor("personal-1")
        for block in range(400):
            share = 0.5 * math.exp(-0.2 + 0.2 * rng.normal())
            monitor.add(block * 10.0, personal=p(happiness=share), generic=p(happiness=0.5), target=LABEL)
        assert monitor.harm is not None
        blocks.append(monitor.harm.n_blocks)
    assert max(blocks) <= 200


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(0, 2000), st.floats(0, 1), st.floats(0, 1), st.booleans()), max_size=120),
    st.floats(2, 1e4),
)
def test_evidence_is_bounded_by_what_was_bet(labels: list[tuple[float, float, float, bool]], patience: float) -> None:
    """Whatever comes: every label is counted once, and harm needs at least the blocks that the largest stake needs."""
    monitor = LiveMonitor("personal-1", settings=MonitorSettings(patience=patience))
    for time_s, personal, generic, human in labels:
        monitor.add(time_s, personal=p(happiness=personal), generic=p(happiness=generic), target=LABEL, human=human)
    assert monitor.n_blocks <= len(labels)
    if monitor.harm is not None:
        assert monitor.harm.evidence >= patience
        assert 1.9**monitor.harm.n_blocks >= patience


def test_harm_to_an_expression_that_the_head_never_saw_is_harm() -> None:
    """All seven classes count: fear that only the generic head still reads."""
    monitor = LiveMonitor("personal-3")
    for block in range(20):
        monitor.add(block * 10.0, personal=p(sadness=0.9), generic=p(fear=0.6), target=p(fear=0.8))
    assert monitor.harm is not None


def spread(name: str, share: float) -> F64:
    """That share for one class, the rest over all others alike."""
    others = dict.fromkeys(EMOTIONS, (1 - share) / 6)
    return p(**others | {name: share})


def test_softness_is_not_taken_for_skill() -> None:
    """A head that is right no more often, but as soft as the labels: harm is seen when both are judged alike."""
    verdict = {"figures": {"softness_generic": 3.0, "softness_personal": 1.0}}
    plain, alike = LiveMonitor("personal-1"), LiveMonitor.of("personal-1", verdict)
    # The generic reading is right on nine of ten, but far too sure for labels of 0.5; the personal one on six of ten.
    for block in range(300):
        generic = spread("happiness" if block % 10 else "sadness", 0.94)
        personal = spread("happiness" if block % 10 < 6 else "sadness", 0.5)
        for monitor in (plain, alike):
            monitor.add(block * 10.0, personal=personal, generic=generic, target=spread("happiness", 0.5))
    assert plain.harm is None
    assert alike.harm is not None
    assert LiveMonitor.of("personal-1", {"figures": None})._softness == (1.0, 1.0)


def test_the_defaults_are_documented() -> None:
    """Ten seconds, two nats, a thousand blocks, three to one."""
    assert MonitorSettings(10.0, 2.0, 1000.0, 3.0) == DEFAULT_MONITOR
