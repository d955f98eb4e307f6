"""What a session looks like in a terminal: a live table, or plain lines where there is no terminal."""

import os
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from daemon.session import SessionInfo
from daemon.sources.source import State
from pipeline.emotions import EMOTIONS, F64
from pipeline.types import CallSecond, Event, FusedReading

COLOURS = dict(zip(EMOTIONS, ("red", "green", "magenta", "yellow", "blue", "cyan", "bright_black"), strict=True))
LETTERS = dict(zip(EMOTIONS, "ADFHSU-", strict=True))
BAR_CELLS, BAR_CELLS_NARROW = 28, 16
NARROW = 96
"""Columns below which the table has shorter bars and goes without quality."""
EVENTS_SHOWN = 6
QUIET_KINDS = frozenset({"participant_joined"})


def clock(second: float) -> str:
    """`m:ss` of a recording, `hh:mm:ss` UTC of a live call."""
    minutes, seconds = divmod(int(second), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours % 24}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def bar(probabilities: F64 | None, cells: int = BAR_CELLS) -> Text:
    """The seven probabilities as one bar; every cell has the letter and colour of its class."""
    if probabilities is None:
        return Text("no face".center(cells), style="dim")
    edges = [round(float(edge) * cells) for edge in probabilities.cumsum()]
    text = Text()
    start = 0
    for name, edge in zip(EMOTIONS, edges, strict=True):
        text.append(LETTERS[name] * (edge - start), style=f"black on {COLOURS[name]}")
        start = edge
    return text


def describe(event: Event, names: Mapping[str, str]) -> str:
    """One line about an event."""
    who = ", ".join(names.get(p, p) for p in event.participants)
    if event.kind == "change":
        subject = f"the group ({who})" if event.data["scope"] == "group" else who
        return f"{clock(event.time_s)} {subject}: {event.data['from']} → {event.data['to']}"
    data = " ".join(f"{key}={value}" for key, value in event.data.items())
    return " ".join(part for part in (clock(event.time_s), event.kind.replace("_", " "), who, data) if part)


class Screen(Console):
    """Standard output. When whoever reads it goes away, as `head` does, `on_closed` is called and the rest is unsaid."""

    def __init__(self) -> None:
        super().__init__()
        self.on_closed: Callable[[], None] = lambda: None

    def on_broken_pipe(self) -> None:
        """Called by rich where a write fails for that reason."""
        self.quiet = True
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 (a device)
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        self.on_closed()


class TerminalSink:
    """Shows a session: `with TerminalSink(console, title=…) as sink`.

    Args:
        console: Where; a terminal gets a live table, anything else plain lines.
        title: Above the table.
        names: What to call participants instead of their pseudonyms; for the demo's made-up people.
    """

    def __init__(self, console: Console, *, title: str, names: Mapping[str, str] | None = None) -> None:
        self._console = console
        self._title = title
        self.names: dict[str, str] = dict(names or {})
        self._events: deque[str] = deque(maxlen=EVENTS_SHOWN)
        self._shown: Table | None = None
        self._live = Live(console=console, refresh_per_second=4, transient=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    async def status(self, info: SessionInfo, state: State, time_s: float, reason: str | None) -> None:
        """The table shows readings; the end is told by events."""

    async def second(self, info: SessionInfo, second: CallSecond) -> None:
        """Draws the second, or prints it."""
        await self.events(info, second.events)
        if self._live is not None:
            self._shown = self._table(info, second)
            self._draw()
            return
        parts = [self._plain(reading) for reading in second.readings]
        if second.group.probabilities is not None:
            parts.append(f"group {'+'.join(second.group.dominant) or 'mixed'}")
        self._console.print(f"{clock(second.second):>8}  " + "  ".join(parts), soft_wrap=True, highlight=False)

    async def events(self, info: SessionInfo, events: Sequence[Event]) -> None:  # noqa: ARG002 (a sink's signature)
        """Keeps the last few below the table, or prints them."""
        for event in events:
            if event.kind in QUIET_KINDS:
                continue
            line = describe(event, self.names)
            self._events.append(line)
            if self._live is None:
                self._console.print(f"          {line}", soft_wrap=True, highlight=False)
        self._draw()

    def _draw(self) -> None:
        """The table of the last second, and the last events."""
        if self._live is not None and self._shown is not None:
            self._live.update(Group(self._shown, *(Text(f"  {line}", style="dim") for line in self._events)))

    def _plain(self, reading: FusedReading) -> str:
        """`name happiness 0.91`, in brackets when it abstains."""
        name = self.names.get(reading.participant, reading.participant)
        if reading.probabilities is None:
            return f"{name} -"
        text = f"{reading.top} {reading.confidence:.2f}"
        return f"{name} ({text})" if reading.abstain else f"{name} {text}"

    def _table(self, info: SessionInfo, second: CallSecond) -> Table:
        """Participants and the group."""
        legend = " ".join(f"{LETTERS[name]} {name}" for name in EMOTIONS)
        table = Table(title=f"{self._title}  {clock(second.second)}", caption=legend, expand=False)
        narrow = self._console.width < NARROW
        cells = BAR_CELLS_NARROW if narrow else BAR_CELLS
        columns = ["participant", "expression", "sure", "distribution"]
        columns += ["px : lm"] if narrow else ["pixel : landmark", "quality"]
        for column in columns:
            table.add_column(column, no_wrap=True)

        def add(*row: str | Text) -> None:
            table.add_row(*row[: len(columns)])

        for reading in second.readings:
            name = self.names.get(reading.participant, reading.participant)
            if reading.probabilities is None or reading.top is None:
                add(name, Text("no face", style="dim"), "", bar(None, cells), "", "")
                continue
            style = "dim" if reading.abstain else f"bold {COLOURS[reading.top]}"
            add(
                name,
                Text(reading.top + (" ?" if reading.abstain else ""), style=style),
                f"{reading.confidence:.2f}",
                bar(reading.probabilities, cells),
                f"{reading.weight_pixel:.2f} : {reading.weight_landmark:.2f}",
                f"{reading.arms.quality:.2f}",
            )
        group = second.group
        if len(group.members) >= info.minimum and group.probabilities is not None:
            table.add_section()
            spread = max(group.deviation.values(), default=None)
            far = "" if spread is None else f"± {spread:.2f}" if narrow else f"deviation ≤ {spread:.2f}"
            add(
                Text(f"group of {len(group.members)}", style="bold"),
                Text("+".join(group.dominant) or "mixed", style="bold"),
                f"{group.probabilities.max():.2f}",
                bar(group.probabilities, cells),
                far,
                "",
            )
        return table
