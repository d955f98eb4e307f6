"""Everybody's seconds without noise, in step."""

import numpy as np
from builders import p

from pipeline.cleaning import Cleaner, CleanSecond
from pipeline.emotions import F64

HAPPY, SAD = p(happiness=0.9), p(sadness=0.9)


def play(cleaner: Cleaner, series: dict[str, list[F64 | None]], start: int = 0) -> list[CleanSecond]:
    """One second after the other; a member is in the call as long as the series goes on."""
    out = []
    for second in range(max(len(values) for values in series.values())):
        present = {who: values[second] for who, values in series.items() if second < len(values)}
        out += cleaner.add(start + second, present)
    return out


def sadness(second: CleanSecond, who: str) -> float:
    """How sad somebody was."""
    row = second.distributions[who]
    assert row is not None
    return float(row[4])


def test_seconds_come_out_in_step_without_what_is_dismissed() -> None:
    """Both members of a second come out together, 3 s later; the twitch of one is gone and is told of once."""
    cleaner = Cleaner()
    twitch = [HAPPY] * 6 + [SAD] + [HAPPY] * 6
    out = play(cleaner, {"a": twitch, "b": [HAPPY] * 13})
    assert [clean.second for clean in out] == list(range(10))
    assert all(set(clean.distributions) == {"a", "b"} for clean in out)
    assert [sadness(clean, "a") for clean in out] == [0.0] * 10
    told = [(clean.second, d.participant, d.emotion) for clean in out for d in clean.dismissals]
    assert told == [(6, "a", "sadness")]
    assert [clean.second for clean in cleaner.finish()] == [10, 11, 12]


def test_a_twitch_before_the_end_is_dismissed_as_well() -> None:
    """What has returned when the call ends is noise like any other."""
    cleaner = Cleaner()
    play(cleaner, {"a": [HAPPY] * 6 + [SAD, HAPPY]})
    last = cleaner.finish()
    assert [(clean.second, sadness(clean, "a"), len(clean.dismissals)) for clean in last] == [
        (5, 0.0, 0),
        (6, 0.0, 1),
        (7, 0.0, 0),
    ]


def test_absence_stays_absence_and_who_left_is_in_no_later_second() -> None:
    """`b` looks away in second 2 and leaves after second 3."""
    out = play(Cleaner(), {"a": [HAPPY] * 9, "b": [HAPPY, HAPPY, None, HAPPY]})
    assert [clean.distributions.get("b", "away") is None for clean in out] == [False, False, True, False, False, False]
    assert ["b" in clean.distributions for clean in out] == [True] * 4 + [False] * 2


def test_who_comes_back_soon_is_judged_by_what_was_before() -> None:
    """After five seconds away a twitch is still one; after more than the memory nobody knows what was before."""
    for away, dismissed in ((5, True), (8, False)):
        cleaner = Cleaner(memory_s=7)
        play(cleaner, {"a": [HAPPY] * 6, "b": [HAPPY] * (6 + away)})
        out = play(cleaner, {"a": [SAD, HAPPY, HAPPY, HAPPY], "b": [HAPPY] * 4}, start=6 + away)
        told = [d.participant for clean in out + cleaner.finish() for d in clean.dismissals]
        assert told == ["a"] * dismissed


def test_a_silent_source_leaves_holes() -> None:
    """Seconds that nobody ever saw are not made up."""
    cleaner = Cleaner()
    assert cleaner.add(0, {"a": HAPPY}) == []
    [first] = cleaner.add(9, {"a": HAPPY})
    assert first.second == 0
    assert np.array_equal(first.distributions["a"], HAPPY)
