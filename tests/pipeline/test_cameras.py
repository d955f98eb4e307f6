"""Cameras that go off and on become events."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.cameras import Cameras

Told = list[tuple[int, str, float, str]]


def told(seconds: list[tuple[str, str, str]]) -> Told:
    """Second, kind, time and person of each event; members, whose camera is off and who was read, as letters."""
    cameras = Cameras()
    return [
        (second, event.kind, event.time_s, *event.participants)
        for second, (members, off, read) in enumerate(seconds)
        for event in cameras.add(second, members, off, read)
    ]


def test_two_seconds_in_a_row_are_told_with_the_first_of_them() -> None:
    """Off in seconds 2 and 3: told after the third, dated 2; on again in 5 and 6: told after the sixth, dated 5."""
    seconds = [("ab", "b" if 2 <= second < 5 else "", "") for second in range(9)]
    assert told(seconds) == [(3, "camera_off", 2.0, "b"), (6, "camera_on", 5.0, "b")]


def test_a_second_alone_says_nothing() -> None:
    """A tile that fades from one picture to the next is plain for a moment."""
    assert told([("a", "a" if second % 2 else "", "") for second in range(10)]) == []


def test_who_has_a_face_has_a_camera() -> None:
    """Somebody before a bare wall was read: whatever the tile looks like, the camera is on."""
    assert told([("a", "a", "a")] * 5) == []


def test_who_comes_without_a_camera_is_said_to_have_none() -> None:
    """Whoever comes is taken to have it on; who has left and comes back begins anew, and no `camera_on` is told."""
    seconds = [("a", "a", "")] * 3 + [("", "", "")] + [("a", "", "")] * 3 + [("a", "a", "")] * 2
    assert told(seconds) == [(1, "camera_off", 0.0, "a"), (8, "camera_off", 7.0, "a")]


def test_off_is_known() -> None:
    """Between the events it can be asked for."""
    cameras = Cameras()
    for second in range(2):
        assert cameras.off == frozenset()
        cameras.add(second, "ab", "a", "b")
    assert cameras.off == {"a"}


@given(st.lists(st.booleans(), max_size=40))
def test_off_and_on_take_turns(off: list[bool]) -> None:
    """Of one person the events alternate, begin with off, and each is told within two seconds of when it began."""
    events = told([("a", "a" if is_off else "", "") for is_off in off])
    assert [kind for _, kind, _, _ in events] == (["camera_off", "camera_on"] * len(events))[: len(events)]
    assert all(second - time_s == 1 for second, _, time_s, _ in events)
