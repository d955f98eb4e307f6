"""What goes to the Lab Streaming Layer: samples, and real streams of a real liblsl on machines of their own."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from builders import fused, p
from namespaces import Namespaces, fixture_namespaces, python, sniffed  # noqa: F401
from talker import Talker
from videos import run

from daemon.errors import UnusableInputError
from daemon.session import SessionInfo
from daemon.sinks import lsl
from daemon.sinks.lsl import GROUP, PARTICIPANT, Lsl, group_sample, participant_sample
from pipeline.group import synthesise
from pipeline.types import CallSecond, Event
from pipeline.wire import Stamp, Versions

TESTS = Path(__file__).parent.parent
INFO = SessionInfo(Stamp("monday", "boot"), "seed", "research", Versions("px-1", "lm-1"), 2)
NAN = pytest.approx(float("nan"), nan_ok=True)


def test_a_sample_says_what_a_reading_says() -> None:
    """Channel by channel; in absence all but coverage is unknown, and it is never neutral."""
    reading = dict(zip(PARTICIPANT, participant_sample(fused("p-00000001", 3, p(happiness=0.75))), strict=True))
    assert reading["happiness"] == reading["confidence"] == 0.75
    assert sum(reading[name] for name in PARTICIPANT[:7]) == pytest.approx(1)
    assert (reading["abstain"], reading["coverage"]) == (0.0, 1.0)
    assert 0 < reading["valence"] <= 1
    absence = dict(zip(PARTICIPANT, participant_sample(fused("p-00000001", 3, None)), strict=True))
    assert {name for name, value in absence.items() if value == value} == {"abstain", "coverage"}  # noqa: PLR0124 (NaN)
    assert absence["coverage"] == 0.0


def test_a_group_has_a_sample_too() -> None:
    """Its distribution and its sizes; what engagement does not know yet is unknown."""
    readings = (fused("p-00000001", 3, p(happiness=0.75)), fused("p-00000002", 3, p(anger=0.5)))
    sample = dict(zip(GROUP, group_sample(synthesise(3, readings)), strict=True))
    assert (sample["members"], sample["engaged"]) == (2.0, 2.0)
    assert sample["happiness"] == pytest.approx(0.375, abs=0.05)
    assert [sample[name] for name in ("synchrony", "homogeneity")] == [NAN, NAN]
    nobody = dict(zip(GROUP, group_sample(synthesise(3, ())), strict=True))
    assert nobody["happiness"] == NAN


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and no thread stays behind."""
    monkeypatch.setitem(sys.modules, "pylsl", None)

    async def main() -> None:
        with pytest.raises(UnusableInputError, match=r"pip install 'attuned\[lsl\]'"):
            async with Lsl(node="lab", scope="machine"):
                pass

    run(main())


class Broken:
    """A library whose outlets cannot be opened, or take nothing."""

    cf_float32 = 1

    def __init__(self) -> None:
        self.stuck = asyncio.Event()

    def set_config_content(self, content: str) -> None:
        """Takes anything."""

    def local_clock(self) -> float:
        """Has none."""
        msg = "no clock"
        raise RuntimeError(msg)

    def StreamInfo(self, **_: object) -> None:  # noqa: N802 (the library's name)
        """Cannot be made."""
        msg = "no stream"
        raise RuntimeError(msg)

    StreamOutlet = StreamInfo


def test_what_does_not_reach_the_library_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken library costs the session nothing; too many samples and too many streams are bounded."""
    monkeypatch.setitem(sys.modules, "pylsl", Broken())
    monkeypatch.setattr(lsl, "WAITING_MAX", 2)
    readings = tuple(fused(f"p-0000000{i}", 3, p(happiness=0.75)) for i in range(4))

    async def main() -> int:
        async with Lsl(node="lab", scope="machine") as sink:
            await sink.second(INFO, CallSecond(3, readings, synthesise(3, readings), (), ()))
            await sink.events(INFO, ())
            await sink.status(INFO, "ended", 4.0, None)
            await asyncio.sleep(0.1)
            return sink.n_dropped

    assert run(main()) == 5
    monkeypatch.setattr(lsl, "OUTLETS_MAX", 0)
    assert run(main()) == 5


class Made(Broken):
    """A library that works, and says whose outlets there are and which thread has closed one."""

    def __init__(self) -> None:
        self.there: list[str] = []
        self.closed: list[str] = []
        made = self

        class Info:
            def __init__(self, *, name: str, **_: object) -> None:
                self.name = name

            def set_channel_labels(self, labels: list[str]) -> None:
                """Takes any."""

            set_channel_types = set_channel_labels

            def desc(self) -> "Info":
                return self

            def append_child_value(self, key: str, value: str) -> None:
                """Takes any."""

        class Outlet:
            def __init__(self, info: Info, **_: object) -> None:
                self.name = info.name
                made.there.append(self.name)

            def push_sample(self, values: tuple[float, ...], time_s: float) -> None:
                """Takes any."""

            def __del__(self) -> None:
                made.there.remove(self.name)
                made.closed.append(threading.current_thread().name)

        self.StreamInfo, self.StreamOutlet = Info, Outlet  # type: ignore[method-assign, assignment]

    def local_clock(self) -> float:
        """Stands."""
        return 0.0


def test_the_stream_of_who_leaves_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a call in which people come and go has a thousand streams some day; liblsl's thread waits for it, not the loop."""
    library = Made()
    monkeypatch.setitem(sys.modules, "pylsl", library)
    ann, ben = (fused(f"p-0000000{i}", 3, p(happiness=0.75)) for i in range(2))
    left = (Event("participant_left", 4.0, (ann.participant,)),)

    async def main() -> list[list[str]]:
        told = []
        async with Lsl(node="lab", scope="machine") as sink:
            for second in (
                CallSecond(3, (ann, ben), synthesise(3, (ann, ben)), (), ()),
                CallSecond(4, (ben,), synthesise(4, (ben,)), left, ()),
            ):
                await sink.second(INFO, second)
                await sink._call(lambda: None)
                told.append(list(library.there))
        return told

    before, after = run(main())
    assert len(before) == 3
    assert set(before) - set(after) == {f"attuned {INFO.id} {ann.participant}"}
    assert {name.split("_")[0] for name in library.closed} == {"lsl"}


# Real streams


@contextmanager
def playing(namespace: str, scope: str, folder: Path) -> Iterator[Talker]:
    """A session that is streamed on that machine."""
    with Talker(python(namespace, TESTS / "lsl_outlets.py", scope), folder / "outlets.log") as talker:
        yield talker


def recorded(namespace: str, scope: str, seconds: float) -> dict[str, Any]:
    """What a recorder on that machine finds."""
    command = python(namespace, TESTS / "lsl_recorder.py", scope, str(seconds))
    path = f"{TESTS.parent}:{TESTS}"
    done = subprocess.run(
        ["env", f"PYTHONPATH={path}", *command], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.timeout(180)
def test_a_recorder_finds_everybody_and_the_group(namespaces: Namespaces, tmp_path: Path) -> None:
    """Names, channels and values arrive as they were given; nothing leaves the machine meanwhile."""
    with playing(namespaces.bot, "machine", tmp_path), sniffed(namespaces.bot) as seen:
        told = recorded(namespaces.bot, "machine", 30)
    assert set(told) == {f"attuned monday {who}" for who in ("p-00000001", "p-00000002", "group")}
    one, two, group = (told[f"attuned monday {who}"] for who in ("p-00000001", "p-00000002", "group"))
    assert one["labels"] == list(PARTICIPANT)
    assert group["labels"] == list(GROUP)
    assert (one["type"], one["session"], one["source"]) == ("Expression", "monday", "attuned/lab/monday/p-00000001")
    assert all(sample[PARTICIPANT.index("happiness")] == pytest.approx(0.75) for sample in one["samples"])
    assert {sample[PARTICIPANT.index("coverage")] for sample in two["samples"]} == {0.0, 1.0}
    assert {None if sample[0] is None else round(sample[0], 6) for sample in two["samples"]} == {None, 0.5}
    # The second before the present one, of which the sink was told at once.
    assert all(0 <= age <= 5 for stream in told.values() for age in stream["age_s"])
    assert {address for pair in seen for address in pair if not address.startswith("127.")} == set()


@pytest.mark.timeout(180)
def test_other_machines_find_it_where_that_is_wanted(namespaces: Namespaces, tmp_path: Path) -> None:
    """With scope `link` a recorder on the other machine hears everybody; with `machine` it finds nobody."""
    with playing(namespaces.bot, "link", tmp_path):
        assert len(recorded(namespaces.sfu, "link", 30)) == 3
    with playing(namespaces.bot, "machine", tmp_path):
        assert len(recorded(namespaces.bot, "machine", 30)) == 3
        assert recorded(namespaces.sfu, "link", 3) == {}
