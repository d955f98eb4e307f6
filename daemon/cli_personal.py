"""`attuned calibrate` and `attuned label`: what people say or show, for their personal heads."""

import json
import re
import sys
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Self, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from config.sections import PSEUDONYM
from config.settings import Settings
from daemon.commands import (
    PURPOSES,
    ConfigOption,
    ConsentOption,
    JsonOption,
    PurposeOption,
    StartOption,
    consent_of,
    moment,
    one_line_errors,
    purpose_of,
    run_async,
    settings_from,
)
from daemon.errors import UnusableInputError

if TYPE_CHECKING:
    from daemon.calibrate import Calibration, Result, Tally
    from daemon.calibrate_schedule import Step

personal_app = typer.Typer()


@personal_app.command()
@one_line_errors
def calibrate(
    url: Annotated[
        str, typer.Argument(help="The camera: `rtsp://…`, `whep+https://…`, `janus+http://…`, or a recording of it.")
    ],
    participant: Annotated[
        str, typer.Option(help="Whose face it is: the pseudonym by which sessions know this person, or `new`.")
    ],
    schedule: Annotated[
        Path | None,
        typer.Option(
            help="CSV or YAML: stimulus, file, label (or valence, arousal), seconds. Default: the seven expressions in "
            "words, with rest in between.",
            readable=False,
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=60, help="Of the default schedule, 80 s each.")] = 6,
    settle: Annotated[
        float, typer.Option(min=0, max=60, help="Seconds at the beginning of each step that do not count.")
    ] = 2.0,
    offset: Annotated[
        float, typer.Option(min=0, help="Of a recording: the second in which the schedule begins.")
    ] = 0.0,
    player: Annotated[
        str, typer.Option(help="`auto`: ffplay where it is there. `none`: files are named, you play them.")
    ] = "auto",
    purpose: PurposeOption = None,
    consent: ConsentOption = None,
    start: StartOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record one person's face while they show, or are shown, what is known: labels for their personal head.

    On a live source the steps are told here, and files played; of a recording that was made this way before, the
    same schedule says what was on. One person is to be in the picture: seconds with two are left out. Ctrl-C ends it;
    what was recorded is kept. Samples hold features, no pictures; `attuned models forget` erases them.
    """
    from daemon.calibrate import Calibration, Tally, result_of
    from daemon.calibrate_schedule import default_schedule, read_schedule
    from daemon.player import find_player
    from daemon.sources.urls import kind_of
    from daemon.state import locked, state_folder
    from pipeline.wire import EPOCH, Stamp

    settings = settings_from(config)
    is_live = kind_of(url) != "file"
    if is_live and purpose is None:
        msg = f"a live source needs a declared purpose: --purpose with one of {', '.join(PURPOSES)}"
        raise UnusableInputError(msg)
    declared, who = purpose_of(purpose, "research"), participant_of(participant)
    if not settings.personal.enabled:
        msg = "personal.enabled is off in the settings, so nothing may be kept; switch it on"
        raise UnusableInputError(msg)
    if player not in {"auto", "none"}:
        msg = f"--player {player}: give `auto` or `none`"
        raise UnusableInputError(msg)
    plan = default_schedule(rounds) if schedule is None else read_schedule(schedule)
    command = find_player() if player == "auto" and is_live and any(s.file for s in plan.steps) else None
    asked = Calibration(who, plan, declared, is_live, None if is_live else offset, settle, command)
    agreed(consent, who)
    tally, stopped = Tally(), False
    with ExitStack() as stack:
        stack.enter_context(locked(state_folder(settings)))
        anchor = EPOCH if is_live else anchor_of(url, moment(start))
        screen = stack.enter_context(Told(asked))
        try:
            run_async(_calibrate(url, asked, settings, screen, tally, anchor))
        except KeyboardInterrupt:
            stopped = True
        finally:
            screen.close()
            result = result_of(settings, who, tally, Stamp("calibrate", "", anchor).epoch_s)
            tell(asked, tally, result, as_json=as_json)
    if stopped:
        raise KeyboardInterrupt


@personal_app.command()
@one_line_errors
def label(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="What `attuned analyze` wrote, best with --features.", readable=False),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The sheet; default DIR/labels.csv. Never overwritten.", readable=False)
    ] = None,
    n: Annotated[int, typer.Option(min=1, max=10_000, help="Seconds of each participant, at most.")] = 30,
    method: Annotated[
        str | None,
        typer.Option(help="`gsx` (default), `igs`, `mcdue`, `gsy` (default without features) or `random`."),
    ] = None,
    apart: Annotated[int, typer.Option(min=1, max=3600, help="Seconds between two that are asked about.")] = 5,
    rater: Annotated[str, typer.Option(help="Who fills it in; no name is needed.")] = "rater-1",
    blind: Annotated[
        bool, typer.Option("--blind", help="Leave out what the models said, so that it leads nobody.")
    ] = False,
    read: Annotated[
        Path | None, typer.Option(metavar="SHEET", help="Make samples of a sheet that was filled in.", readable=False)
    ] = None,
    known_as: Annotated[
        list[str] | None,
        typer.Option("--as", help="With --read: p-…=p-…, who of the recording is whom sessions know; can be repeated."),
    ] = None,
    consent: ConsentOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose the seconds of a recording that a person should be asked about; read the answers back as labels.

    The sheet names the second, the participant and their place in the picture, and what the models said. Watch the
    recording, and write one of anger, disgust, fear, happiness, sadness, surprise, neutral into the column label, or
    nothing. What comes back: `attuned analyze VIDEO --personal --labels SHEET` learns from it within the recording;
    `attuned label DIR --read SHEET --as p-…=p-…` keeps it for a person whom later sessions know.
    """
    from daemon.annotate import read_annotations
    from daemon.label import choose, keep_labels, write_sheet
    from daemon.report.tables import read_tables
    from models.personal.selection import METHODS

    settings, tables = settings_from(config), read_tables(folder)
    if method is not None and method not in METHODS:
        msg = f"--method {method}: choose from {', '.join(METHODS)}"
        raise UnusableInputError(msg)
    if read is None:
        if known_as:
            msg = "--as says whose answers are kept; give --read SHEET as well"
            raise UnusableInputError(msg)
        path = out or folder / "labels.csv"
        used, chosen = choose(folder, tables, settings, method=method, n=n, apart_s=apart)
        n_lines = write_sheet(tables, chosen, path, rater=rater, blind=blind)
        if as_json:
            print(json.dumps({"sheet": str(path), "method": used, "seconds": chosen}))
        else:
            print(
                f"{path}: {n_lines} seconds to label, chosen by {used}; leave out what you cannot tell", file=sys.stderr
            )
        return
    annotations, whom = read_annotations(read), known_people(known_as or [])
    from daemon.state import locked, state_folder

    for participant in whom.values():
        agreed(consent, participant)
    with locked(state_folder(settings)):
        done = keep_labels(folder, tables, annotations, settings, known_as=whom)
    if as_json:
        print(json.dumps({"participants": [asdict(found) for found in done]}))
        return
    for found in done:
        told = ", ".join(f"{name} {count}" for name, count in found.kept.items()) or "none"
        print(f"{found.participant}: kept {told} (seconds); {found.without_face} without a face")
        print(f"for a training: {found.missing or 'nothing is missing; it comes with the next session'}")


def known_people(pairs: list[str]) -> dict[str, str]:
    """Participants of a recording, and who they are in sessions."""
    people = [tuple(pair.split("=")) for pair in pairs]
    for names in people:
        if len(names) != 2 or not all(re.fullmatch(PSEUDONYM, name) for name in names):  # noqa: PLR2004 (a pair)
            msg = "--as: give p-…=p-…, a participant of the recording and the pseudonym by which sessions know this person"
            raise UnusableInputError(msg)
    whom = dict(cast("list[tuple[str, str]]", people))
    if not whom or len(whom) < len(pairs) or len(set(whom.values())) < len(pairs):
        needs_none = "`attuned analyze VIDEO --personal --labels SHEET` needs none"
        msg = f"--read keeps answers for people whom sessions know: give --as p-…=p-… for each, once; {needs_none}"
        raise UnusableInputError(msg)
    return whom


async def _calibrate(
    url: str, asked: "Calibration", settings: Settings, screen: "Told", tally: "Tally", anchor: datetime
) -> None:
    """With the source open."""
    from daemon.calibrate import calibrate as run
    from daemon.calibrate import open_source

    async with open_source(url, asked, settings) as source:
        await run(source, asked, settings=settings, screen=screen, tally=tally, anchor=anchor)


def participant_of(value: str) -> str:
    """The pseudonym, or a new one."""
    if value == "new":
        return f"p-{token_hex(4)}"
    if not re.fullmatch(PSEUDONYM, value):
        # What it is, is not said: it might be somebody's name.
        msg = "--participant: give a pseudonym, `p-` and eight hexadecimal digits, or `new`; no name"
        raise UnusableInputError(msg)
    return value


def anchor_of(url: str, start: datetime | None) -> datetime:
    """UTC of the first picture of a recording, by which samples of several recordings are told apart."""
    from daemon.sources.opening import open_recording
    from pipeline.wire import EPOCH

    anchor = start or open_recording(url).anchor
    if anchor == EPOCH:
        msg = f"{url}: does not say when it was recorded; give --start, as 2026-01-31T12:00:00Z"
        raise UnusableInputError(msg)
    return anchor


def agreed(consent: str | None, participant: str) -> None:
    """Nothing, where the person agreed; they are asked where there is a terminal."""
    if consent is not None and consent_of(consent) == "declared":
        return
    if consent is None and sys.stdin.isatty():
        question = f"Features of your face are kept as {participant}, to learn from. No picture is. Do you agree?"
        if typer.confirm(question, err=True):
            return
        msg = "nothing was recorded"
        raise UnusableInputError(msg)
    msg = "whose face it is must agree: --consent declared says that they did, beforehand"
    raise UnusableInputError(msg)


class Told:
    """Tells on stderr what is on: a line for each step, and how long it will take."""

    def __init__(self, asked: "Calibration") -> None:
        self._asked = asked
        self._console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        asked, files = self._asked, sum(step.file is not None for step in self._asked.schedule.steps)
        self._print(f"{asked.participant}: {len(asked.schedule.steps)} steps, {asked.schedule.seconds:.0f} s")
        if asked.is_live and files:
            how = "are shown by ffplay" if asked.player else "play them yourself, in full screen, when they are named"
            self._print(f"{files} files: {how}")
        self._bar.start()
        self._task = self._bar.add_task("", total=asked.schedule.seconds)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The bar goes."""
        self._bar.stop()

    def step(self, number: int, step: "Step") -> None:
        """A step begins."""
        file = f"  ▶ {step.file}" if step.file is not None and self._asked.player is None else ""
        if self._asked.is_live:
            self._print(f"{number + 1:3}  {step.seconds:4.0f} s  {step.words}{file}")
        if self._task is not None:
            self._bar.update(self._task, description=step.words)

    def time(self, done_s: float) -> None:
        """So far it is."""
        if self._task is not None:
            self._bar.update(self._task, completed=done_s)

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)


def tell(asked: "Calibration", tally: "Tally", result: "Result", *, as_json: bool) -> None:
    """What was kept, and what is missing."""
    told = [{"kind": event.kind, **event.data} for event in tally.told]
    if as_json:
        fields = asdict(result) | {
            "participant": asked.participant,
            "purpose": asked.purpose,
            "complete": tally.is_complete,
            "steps": tally.steps,
            "without_face": tally.nobody,
            "with_several": tally.several,
            "events": told,
        }
        print(json.dumps(fields, default=str))
        return

    def listed(counts: dict[str, int]) -> str:
        return ", ".join(f"{name} {n}" for name, n in counts.items() if n) or "none"

    print(f"{asked.participant}: kept {listed(dict(result.kept))} (seconds); in all {listed(dict(result.samples))}")
    if tally.nobody or tally.several:
        print(f"left out: {tally.nobody} pictures without a face, {tally.several} with more than one")
    if result.lost:
        print(f"{result.lost} seconds are not there: the buffer is full, or the disk too slow; the log says more")
    for event in told:
        why = "" if not event.get("reasons") else f": {'; '.join(map(str, event['reasons']))}"
        print(f"{event['kind'].replace('_', ' ')} {event.get('version', '')}".rstrip() + why)
    if not any(event["kind"] in {"head_promoted", "head_rejected"} for event in told):
        print(f"for a training: {result.missing or 'nothing is missing; it comes with the next session'}")
