"""`attuned calibrate`: seconds of the right steps become samples of one person, nothing else does, and nothing is lost."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from skimage import data as pictures
from typer.testing import CliRunner
from videos import run, write_pictures

from config.settings import Settings
from daemon.calibrate import Calibration, Tally, calibrate, result_of
from daemon.calibrate_schedule import Schedule, Step
from daemon.catalogue import basis_of, people_of
from daemon.cli import app
from daemon.commands import first_leaf
from daemon.errors import FailedError
from daemon.sources.source import Moment
from models.personal.buffer import Buffer, Label
from models.personal.samples import Origin, Samples
from pipeline.emotions import EMOTIONS
from pipeline.types import U8, Frame

pytestmark = pytest.mark.timeout(180)
WHO = "p-0000ca11"
FACE: U8 = pictures.astronaut()[:256, 96:352]
EMPTY: U8 = np.full((256, 256, 3), 90, np.uint8)
TWO: U8 = np.concatenate([FACE, FACE], axis=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
CSV = "stimulus,label,seconds\nshow joy,happy,3\nrest,,2\nshow fear,fear,3\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Kept in a folder of the test."""
    return Settings(state_dir=tmp_path / "state")


def kept(settings: Settings) -> Samples:
    """What is on disk."""
    folder = people_of(settings).find(WHO)
    assert folder is not None
    with Buffer(folder, basis=basis_of(settings)) as buffer:
        return buffer.samples()


def invoke(folder: Path, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a calibration whose state is in the folder."""
    done = CliRunner().invoke(
        app, ["calibrate", *map(str, arguments)], env={"ATTUNED_STATE_DIR": str(folder / "state")}
    )
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Eight seconds of a face."""
    return write_pictures(tmp_path / "face.mp4", [FACE] * 40, fps=5)


def test_seconds_get_the_label_of_their_step(tmp_path: Path, video: Path, settings: Settings) -> None:
    """Without the first second of each step, without the rest; features only, from a person, at their own time."""
    (tmp_path / "s.csv").write_text(CSV)
    arguments = (video, "--participant", WHO, "--schedule", tmp_path / "s.csv", "--settle", 1, "--consent", "declared")
    code, out, _ = invoke(tmp_path, *arguments, "--start", "2026-01-01T00:00:00Z", "--json")
    assert code == 0
    told = json.loads(out)
    assert {name: n for name, n in told["kept"].items() if n} == {"happiness": 2, "fear": 2}
    assert (told["lost"], told["complete"], told["purpose"]) == (0, True, "research")
    assert told["missing"] == "4 of 30 samples"
    samples = kept(settings)
    assert [int(t - START.timestamp()) for t in samples.time_s] == [1, 2, 6, 7]
    assert [EMOTIONS[c] for c in samples.label] == ["happiness"] * 2 + ["fear"] * 2
    assert set(samples.origin.tolist()) == {Origin.CALIBRATION}
    assert np.isfinite(samples.pixel).all()
    assert np.isfinite(samples.interpretable).all()


def test_nobody_else_gets_into_the_samples(tmp_path: Path, settings: Settings) -> None:
    """Seconds with two faces or none are left out and counted."""
    shots = [np.concatenate([FACE, EMPTY], axis=1)] * 15 + [TWO] * 15 + [np.concatenate([EMPTY, EMPTY], axis=1)] * 10
    video = write_pictures(tmp_path / "v.mp4", shots, fps=5)
    (tmp_path / "s.csv").write_text("stimulus,label,seconds\nshow joy,happy,8\n")
    code, out, _ = invoke(
        *(tmp_path, video, "--participant", WHO, "--schedule", tmp_path / "s.csv", "--settle", 0),
        *("--consent", "declared", "--start", "2026-01-01T00:00:00Z", "--json"),
    )
    assert code == 0
    told = json.loads(out)
    assert told["with_several"] > 0
    assert told["without_face"] > 0
    assert [int(t - START.timestamp()) for t in kept(settings).time_s] == [0, 1, 2]


def test_a_source_that_ends_too_early_is_told(tmp_path: Path, video: Path, settings: Settings) -> None:
    """Exit code 1; what was recorded is there."""
    (tmp_path / "s.csv").write_text("stimulus,label,seconds\nshow joy,happy,60\n")
    code, out, err = invoke(
        *(tmp_path, video, "--participant", WHO, "--schedule", tmp_path / "s.csv", "--consent", "declared"),
        *("--start", "2026-01-01T00:00:00Z"),
    )
    assert code == 1
    assert "the source ended 52 s before the schedule did" in err
    assert "kept happiness 6 (seconds)" in out
    assert len(kept(settings)) == 6


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--participant", "Anna"], "no name"),
        (["--participant", WHO], "must agree"),
        (["--participant", WHO, "--consent", "required"], "must agree"),
        (["--participant", WHO, "--consent", "declared"], "give --start"),
        (["--participant", WHO, "--purpose", "workplace"], "prohibited in the EU"),
        (["--participant", WHO, "--player", "vlc"], "`auto` or `none`"),
        (["--participant", WHO, "--schedule", "none.csv"], "none.csv: cannot be read"),
    ],
)
def test_what_is_refused(tmp_path: Path, video: Path, arguments: list[str], told: str) -> None:
    """Exit code 2, one line, nothing kept, and no name repeated."""
    code, out, err = invoke(tmp_path, video, *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert "Anna" not in err
    assert not list(tmp_path.glob("state/personal/p-*"))


def test_a_live_source_needs_a_purpose_and_whip_the_daemon(tmp_path: Path) -> None:
    """Before anything is opened."""
    code, _, err = invoke(tmp_path, "rtsp://127.0.0.1:9/none", "--participant", WHO, "--consent", "declared")
    assert code == 2
    assert "needs a declared purpose" in err
    arguments = ("whip://", "--participant", WHO, "--consent", "declared", "--purpose", "research")
    code, _, err = invoke(tmp_path, *arguments)
    assert code == 2
    assert "comes to the daemon" in err


def test_ctrl_c_loses_nothing(tmp_path: Path, settings: Settings) -> None:
    """Whoever breaks off has the seconds until then on disk, and is told how many; exit code 1."""
    video = write_pictures(tmp_path / "long.mp4", [FACE] * 5 * 240, fps=5)
    (tmp_path / "s.csv").write_text("stimulus,label,seconds\nshow joy,happy,240\n")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "daemon", "calibrate", str(video), "--participant", WHO),
            *(
                "--schedule",
                str(tmp_path / "s.csv"),
                "--consent",
                "declared",
                "--start",
                "2026-01-01T00:00:00Z",
                "--json",
            ),
        ],
        env={"ATTUNED_STATE_DIR": str(tmp_path / "state"), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 90
    while time.monotonic() < until and not list(tmp_path.glob("state/personal/p-*/samples-*.sqlite")):
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "attuned: stopped" in err
    told, samples = json.loads(out), kept(settings)
    assert (told["lost"], told["complete"]) == (0, False)
    assert 0 < told["kept"]["happiness"] == len(samples) < 238
    assert np.array_equal(np.diff(samples.time_s), np.ones(len(samples) - 1))


class Camera:
    """A live source: a face in real time, five times a second."""

    is_room = False
    problem = None
    farewell = "the call is over"
    n_undecoded = 0

    def __init__(self, pictures_of: Sequence[U8] = (FACE,)) -> None:
        self._pictures = pictures_of
        self.due_s = time.time()

    @property
    def end_s(self) -> float:
        """Now."""
        return time.time()

    def now_s(self) -> float:
        """Now."""
        return time.time()

    async def items(self) -> AsyncGenerator[Moment, None]:
        """For ever."""
        k = 0
        while True:
            await asyncio.sleep(0.2)
            self.due_s = time.time()
            frames = (Frame("camera", self.due_s, self._pictures[k % len(self._pictures)]),)
            k += 1
            yield Moment(self.due_s, frames, ("camera",))


class Told:
    """Remembers what was told."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, number: int, step: Step) -> None:
        """A step."""
        assert number == len(self.steps)
        self.steps.append(step.words)

    def time(self, done_s: float) -> None:
        """Never backwards nor outside."""
        assert done_s >= 0


def joy(seconds: float, file: Path | None = None) -> Step:
    """A step that is recorded."""
    return Step("joy", file, Label.of("happiness", Origin.CALIBRATION), seconds)


def test_a_live_source_is_led_through_the_schedule(tmp_path: Path, settings: Settings) -> None:
    """Steps are told, a file is played for as long as its step, and the call is left when all is over."""
    marker = tmp_path / "clip.mp4"
    marker.write_bytes(b"")
    player = (sys.executable, "-c", "import sys, time; open(sys.argv[1] + '.played', 'w'); time.sleep(60)")
    schedule = Schedule((joy(4, marker), Step("rest", None, None, 1)))
    asked, tally, told = Calibration(WHO, schedule, "research", True, None, 1.0, player), Tally(), Told()
    run(calibrate(Camera(), asked, settings=settings, screen=told, tally=tally))
    assert (told.steps, tally.is_complete) == (["joy", "rest"], True)
    assert (tmp_path / "clip.mp4.played").exists()
    found = result_of(settings, WHO, tally, float)
    assert found.kept["happiness"] >= 2
    assert (sum(found.kept.values()), found.lost) == (found.kept["happiness"], 0)
    assert abs(kept(settings).time_s[-1] - time.time()) < 30


def test_what_was_not_shown_is_no_label(tmp_path: Path, settings: Settings) -> None:
    """A player that fails ends it, before a second is kept that nobody saw a stimulus in."""
    player = (sys.executable, "-c", "import sys; sys.exit('no display')")
    asked = Calibration(WHO, Schedule((joy(20, tmp_path / "a.mp4"),)), "research", True, None, 5.0, player)
    tally = Tally()
    with pytest.raises(ExceptionGroup) as caught:
        run(calibrate(Camera(), asked, settings=settings, screen=Told(), tally=tally))
    told = first_leaf(caught.value)
    assert isinstance(told, FailedError)
    assert "no display" in str(told)
    assert not tally.labelled


def test_a_person_of_the_development_data(tmp_path: Path, dev_data: Path, settings: Settings) -> None:
    """Every take of a session becomes seconds of its own expression."""
    import csv  # noqa: PLC0415

    with (dev_data / "sessions" / "MANIFEST.csv").open() as file:
        takes = [row for row in csv.DictReader(file) if row["path"] == "session_NM.mp4"]
    lines = [f"{row['group']},{row['label']},{float(row['end_s']) - float(row['start_s']):.3f}" for row in takes]
    (tmp_path / "s.csv").write_text("\n".join(["stimulus,label,seconds", *lines]))
    code, out, err = invoke(
        *(tmp_path, dev_data / "sessions" / "session_NM.mp4", "--participant", WHO, "--schedule", tmp_path / "s.csv"),
        *("--settle", 0.4, "--consent", "declared", "--start", "2026-01-01T00:00:00Z", "--json"),
    )
    assert code == 0, err
    told = json.loads(out)
    assert min(told["kept"].values()) >= 3
    assert told["lost"] == 0
    samples = kept(settings)
    begins = np.cumsum([0.0, *(float(line.rsplit(",", 1)[1]) for line in lines)])
    for time_s, label in zip(samples.time_s - START.timestamp(), samples.label, strict=True):
        # Of a second in which two takes meet it is the first one's.
        words = {takes[k]["label"] for k in range(len(takes)) if begins[k] < time_s + 1 and begins[k + 1] > time_s}
        assert EMOTIONS[label] in words
