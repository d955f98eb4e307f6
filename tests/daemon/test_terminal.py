"""What a session looks like in a terminal, and where there is none."""

import io

import pytest
from builders import fused, p
from rich.console import Console
from videos import run

from daemon.session import SessionInfo
from daemon.sinks.terminal import TerminalSink, bar, clock, describe
from pipeline.group import synthesise
from pipeline.types import CallSecond, Event
from pipeline.wire import Stamp, Versions

INFO = SessionInfo(Stamp("s", "b"), "seed", "research", Versions("pixel-1", "landmark-1"), 2)
CHANGE = Event("change", 61.0, ("p-1",), {"scope": "individual", "from": "neutral", "to": "happiness"})


def second(at: int = 61) -> CallSecond:
    """One happy, one absent, one who abstains."""
    unsure = fused("p-3", at, p(sadness=0.3))
    unsure = type(unsure)(unsure.arms, 0.5, 0.5, unsure.probabilities, abstain=True)
    readings = (fused("p-1", at, p(happiness=0.9)), fused("p-2", at, None), unsure)
    joined = Event("participant_joined", float(at), ("p-1",))
    return CallSecond(at, readings, synthesise(at, readings), (joined, CHANGE), ())


def shown(*, terminal: bool, names: dict[str, str] | None = None, width: int = 120) -> str:
    """What a console of so many columns gets."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, color_system=None)
    with TerminalSink(console, title="a call", names=names) as sink:
        run(sink.status(INFO, "live", 0.0, None))
        run(sink.second(INFO, second()))
    return out.getvalue()


def test_without_a_terminal_there_are_plain_lines() -> None:
    """A line per second and per event; brackets mark an abstention, a dash an absence."""
    lines = shown(terminal=False).splitlines()
    assert lines[0].strip() == "1:01 p-1: neutral → happiness"
    assert lines[1].split() == [
        "1:01",
        "p-1",
        "happiness",
        "0.90",
        "p-2",
        "-",
        "p-3",
        "(neutral",
        "0.70)",
        "group",
        "happiness+neutral",
    ]
    assert len(lines) == 2


def test_in_a_terminal_there_is_a_table() -> None:
    """Everybody with expression, confidence, bar and weights, then the group, then events; names if given."""
    text = shown(terminal=True, names={"p-1": "Maud"})
    for part in (
        "Maud",
        "happiness",
        "0.90",
        "HHHHH",
        "0.50 : 0.50",
        "no face",
        "neutral ?",
        "group of 3",
        "deviation",
    ):
        assert part in text
    assert "1:01 Maud: neutral → happiness" in text


def test_a_narrow_terminal_has_all_that_matters() -> None:
    """At 80 columns expression, confidence, bar and weights still fit on their line."""
    lines = shown(terminal=True, width=80).splitlines()
    [happy] = [line for line in lines if "p-1 " in line and "happiness" in line and "→" not in line]
    assert "0.90" in happy
    assert "HHHHHH" in happy
    assert "0.50 : 0.50" in happy
    assert max(len(line) for line in lines if line.startswith("│")) <= 80


def test_the_bar_is_as_long_as_its_parts() -> None:
    """Half happiness and half neutral are half and half; every distribution fills all cells."""
    assert bar(p(happiness=0.5), 8).plain == "HHHH----"
    assert len(bar(p(anger=0.01, fear=0.01, sadness=0.33), 10).plain) == 10
    assert bar(None, 9).plain == " no face "


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0:00"), (61.9, "1:01"), (3600, "1:00:00"), (90061, "1:01:01")])
def test_clock(seconds: float, text: str) -> None:
    """Minutes and seconds, hours where there are any, a day turns over."""
    assert text == clock(seconds)


def test_events_are_told_in_words() -> None:
    """Group changes name the group, others their kind and data."""
    group = Event("change", 5.0, ("p-1", "p-2"), {"scope": "group", "from": "anger", "to": "fear"})
    assert describe(group, {}) == "0:05 the group (p-1, p-2): anger → fear"
    assert describe(Event("session_ended", 5.0, (), {"reason": "stopped"}), {}) == "0:05 session ended reason=stopped"
