"""The trainer: one process at a time, whatever becomes of it, and what is left when it is gone."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.trainer import COMMAND, Outcome, Request, Trainer, TrainerSettings, rolled_back, why_busy
from models.manifest import WEIGHTS, read_manifest
from models.personal.attempts import FILE as ATTEMPTS
from models.personal.attempts import read_attempts
from models.personal.basis import Basis
from models.personal.buffer import Buffer, Features, Label
from models.personal.gate import DEFAULT_GATE
from models.personal.heads import read_arrays
from models.personal.monitor import Harm
from models.personal.people import HEADS, JOB, People
from models.personal.samples import Origin, Samples
from models.personal.store import Store
from pipeline.emotions import EMOTIONS

DIM = 8
BASIS = Basis("a" * 64, "b" * 64, DIM, DIM)
ANNA, BOB = "p-0000000a", "p-0000000b"
SETTINGS = TrainerSettings(gate=replace(DEFAULT_GATE, n_resamples=200))
ROOT = Path(__file__).parents[2]

STAND_IN = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
import signal
from daemon.training_process import main

def learners(job):
    import numpy as np
    from models.personal.heads import write_arrays
    from pipeline.emotions import softmax

    class Reads:
        offset = np.zeros(7)
        def predict_proba(self, samples):
            return softmax(samples.pixel[:, :7].astype(float) + self.offset)

    class Offset(Reads):
        # What the labels say less what the face seems to say: the simplest head there is.
        def fit(self, samples, seed):
            said = np.log(samples.target.clip(1e-3)) - np.log(Reads().predict_proba(samples))
            self.offset = said.mean(axis=0).clip(-1.5, 1.5)
        def save(self, path):
            write_arrays(path, {{"offset": self.offset}})

    class Mischief(Offset):
        def fit(self, samples, seed):
            if job.learner == "crash":
                raise RuntimeError("it broke in /home/somebody")
            if job.learner == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if job.learner == "hang":
                time.sleep(3600)
            if job.learner == "spin":
                while True:
                    pass
            if job.learner == "memory":
                self.much = [np.ones(10_000_000) for _ in range(1000)]
            if job.learner == "same":
                return
            super().fit(samples, seed)
        def predict_proba(self, samples):
            if job.learner == "nonsense":
                return np.full((len(samples), 7), np.nan)
            return super().predict_proba(samples)
        def save(self, path):
            if job.learner == "vain":
                path.write_bytes(b"no head at all")
            elif job.learner == "full":
                path.write_bytes(bytes(200 << 20))
            else:
                super().save(path)
    return Mischief(), Reads()

code = main(learners=learners)
folder = sys.argv[1]
if "garbage" in open(folder + "/job.json").read():
    open(folder + "/result.json", "wb").write(os.urandom(3000))
if "silent" in open(folder + "/job.json").read():
    os.unlink(folder + "/result.json")
if "liar" in open(folder + "/job.json").read():
    open(folder + "/candidate.head", "ab").write(b"changed after it was judged")
sys.exit(code)
"""


def samples(n: int = 600, *, seed: int = 0, right: bool = True, tilt: float = 1.5) -> Samples:
    """A face whose rest looks sad, one sample a second; labels say what it shows, or anything."""
    rng = np.random.default_rng(seed)
    classes = np.array([EMOTIONS.index(name) for name in ("happiness", "sadness", "neutral")])
    truth = classes[rng.integers(0, 3, n // 5 + 1).repeat(5)[:n]]
    logits = rng.normal(0, 0.5, (n, DIM)) + 3.0 * np.eye(DIM)[truth]
    logits[:, EMOTIONS.index("sadness")] += tilt
    label = truth if right else rng.permutation(truth)
    target = np.full((n, 7), 0.05)
    target[np.arange(n), label] += 1 - target.sum(axis=1)
    return Samples(
        time_s=np.arange(n) + 0.5,
        pixel=logits.astype(np.float32),
        landmark=np.full((n, DIM), np.nan, dtype=np.float32),
        interpretable=np.tile(logits, 7)[:, :51].astype(np.float32),
        target=target,
        confidence=np.full(n, 0.7),
        quality=np.full(n, 0.8),
        origin=np.zeros(n, dtype=np.uint8),
    )


SHIPPED = Basis(read_manifest()["pixel"].sha256, read_manifest()["landmark"].sha256)


def resting_sad(n: int = 900) -> Samples:
    """What both arms saw on validation faces of three classes, eight of each, moved towards sadness at rest."""
    plain, rng = samples(n, tilt=0.0), np.random.default_rng(4)
    with np.load(WEIGHTS / "bank.npz") as bank:
        emotion = bank["emotion"].astype(int)
        arms = {name: bank[f"{name}_embedding"][:, :5].astype(np.float32) for name in ("pixel", "landmark")}
    faces = {c: rng.choice(np.flatnonzero(emotion == c), 8, replace=False) for c in set(plain.label.tolist())}
    shown = np.array([rng.choice(faces[c]) for c in plain.label]), rng.integers(0, 5, n)
    sad, neutral = (emotion == EMOTIONS.index(name) for name in ("sadness", "neutral"))
    return replace(
        plain,
        **{name: arm[shown] + 0.8 * (arm[sad].mean((0, 1)) - arm[neutral].mean((0, 1))) for name, arm in arms.items()},
    )


class Stage:
    """A trainer with the stand-in process, and everything that it told."""

    def __init__(self, folder: Path) -> None:
        self.people = People(folder / "personal")
        script = folder / "stand_in.py"
        script.write_text(STAND_IN)
        self.command = (sys.executable, str(script))
        self.outcomes: list[Outcome] = []
        self.arrived = asyncio.Event()
        self.why_busy: str | None = None

    def request(self, learner: str, participant: str = ANNA, of: Samples | None = None) -> Request:
        """A request with a head that serves already, so that one sees whether it goes on serving."""
        return Request(participant, self.people.folder(participant), of or samples(), learner, BASIS)

    def store(self, participant: str = ANNA) -> Store:
        """The heads of a participant."""
        return Store(self.people.folder(participant) / HEADS, basis=BASIS.key)

    def _told(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.arrived.set()

    @asynccontextmanager
    async def trainer(self, settings: TrainerSettings = SETTINGS) -> AsyncIterator[Trainer]:
        """The trainer at work."""
        async with Trainer(
            load=read_arrays,
            on_outcome=self._told,
            busy=lambda: self.why_busy,
            settings=settings,
            command=self.command,
            clock=lambda: 1000.0,
        ) as trainer:
            work = asyncio.create_task(trainer.run(), name="trainer")
            try:
                yield trainer
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    async def next(self) -> Outcome:
        """The next outcome."""
        async with asyncio.timeout(50):
            while not self.outcomes:
                self.arrived.clear()
                await self.arrived.wait()
        return self.outcomes.pop(0)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs a test's coroutine; no task is left when it is over."""

    async def alone() -> None:
        await main
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(alone())


def children() -> set[int]:
    """Processes that this one has started and that are still there."""
    listed = "".join(path.read_text() for path in Path(f"/proc/{os.getpid()}/task").glob("*/children"))
    return {int(word) for word in listed.split()}


def test_a_better_head_is_promoted_and_can_serve_at_once(tmp_path: Path) -> None:
    """The outcome has the version and the head; the event says by which figures; nothing else is left."""

    async def main() -> None:
        stage = Stage(tmp_path)
        async with stage.trainer() as trainer:
            assert trainer.submit(stage.request("offset"))
            outcome = await stage.next()
        assert outcome.reasons == ()
        assert outcome.version is not None
        # The resting face that looks sad is what was learnt.
        assert outcome.head["offset"].argmin() == EMOTIONS.index("sadness")
        current = stage.store().current()
        assert current is not None
        assert (current.name, current.learner, current.created_s) == ("personal-1", "offset", 1000.0)
        assert current.trained_until_s < 360
        event = outcome.event(77.0)
        assert (event.kind, event.time_s, event.participants) == ("head_promoted", 77.0, (ANNA,))
        assert event.data["version"] == "personal-1"
        assert event.data["verdict"]["figures"]["log_loss"]["low"] > 0
        folder = stage.people.folder(ANNA)
        assert sorted(path.name for path in folder.iterdir()) == [ATTEMPTS, HEADS]
        [attempt] = read_attempts(folder)
        assert (attempt.time_s, attempt.version, attempt.reasons) == (1000.0, "personal-1", ())

    run(main())


@pytest.mark.parametrize(
    ("learner", "reason"),
    [
        ("crash", "the training broke (exit code 1)"),
        ("killed", "the training was killed (signal 9)"),
        ("hang", "the training took longer than 2 s"),
        ("spin", "the training took more than 1 s of processor time"),
        ("memory", "the training needed more than 700 MB of memory"),
        ("full", "the training broke (exit code 1)"),
        ("garbage", "the training left what is no result"),
        ("silent", "the training left no result"),
        ("liar", "the candidate is not the file that was judged"),
        ("vain", "is damaged"),
        ("nonsense", "the personal head gives what are no probabilities"),
        ("same", "log-loss"),
    ],
)
def test_whatever_goes_wrong_is_one_rejection_and_the_old_head_serves(
    tmp_path: Path, learner: str, reason: str
) -> None:
    """With its reason, which names no file; the buffer is untouched, no process and no file is left, the next works."""

    async def main() -> None:
        stage = Stage(tmp_path)
        with Buffer(stage.people.folder(ANNA), basis=BASIS) as buffer:
            buffer.add(1, Features(np.ones(DIM, np.float32), None, None, 0.5), Label.of("fear", Origin.SHEET))
            # The limits are those of the case, and wide for all else.
            limits = {"hang": {"wall_s": 2.0}, "spin": {"cpu_s": 1, "wall_s": 40.0}, "memory": {"memory_mb": 700}}
            settings = replace(SETTINGS, **limits.get(learner, {}))
            async with stage.trainer() as trainer:
                trainer.submit(stage.request("offset"))
                assert (await stage.next()).version is not None
            async with stage.trainer(settings) as trainer:
                trainer.submit(stage.request(learner))
                outcome = await stage.next()
                assert stage.outcomes == []
            assert buffer.counts().n == 1
        assert outcome.version is None
        assert len(outcome.reasons) >= 1
        assert reason in outcome.reasons[0]
        assert str(tmp_path) not in " ".join(outcome.reasons)
        event = outcome.event(5.0)
        assert (event.kind, event.data["reasons"]) == ("head_rejected", list(outcome.reasons))
        assert [(a.version, a.reasons) for a in read_attempts(stage.people.folder(ANNA))] == [
            ("personal-1", ()),
            (None, outcome.reasons),
        ]
        current = stage.store().current()
        assert current is not None
        assert current.name == "personal-1"
        assert not (stage.people.folder(ANNA) / JOB).exists()
        assert children() == set()

    run(main())


def test_killed_at_any_moment_it_is_promoted_whole_or_not_at_all(tmp_path: Path) -> None:
    """Ten trainings, each killed -9 at a random moment of its life: the store always holds what the outcomes told."""
    moments = random.Random(6)  # noqa: S311 (when to kill)

    async def main() -> None:
        stage = Stage(tmp_path)
        versions, n_killed, lasts_s = [], 0, 0.0
        async with stage.trainer() as trainer:
            for i in range(11):
                trainer.submit(replace(stage.request("offset"), seed=i, samples=samples(seed=i)))
                await until(lambda: trained_by(stage) is not None)
                began_s = time.monotonic()
                if i == 0:  # tells how long one lasts here
                    await until(lambda: trained_by(stage) is None)
                    lasts_s = time.monotonic() - began_s
                else:
                    await asyncio.sleep(moments.uniform(0, lasts_s))
                pid = trained_by(stage)
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
                outcome = await stage.next()
                versions += [outcome.version.name] if outcome.version else []
                n_killed += "the training was killed (signal 9)" in outcome.reasons
                assert [version.name for version in stage.store().versions()] == versions[-5:]
                current = stage.store().current()
                assert (current and current.name) == (versions[-1] if versions else None)
                assert not (stage.people.folder(ANNA) / JOB).exists()
        assert n_killed > 2

    run(main())


def test_labels_that_mean_nothing_are_rejected(tmp_path: Path) -> None:
    """With the reasons of the gate and its figures."""

    async def main() -> None:
        stage = Stage(tmp_path)
        async with stage.trainer() as trainer:
            trainer.submit(stage.request("offset", of=samples(right=False)))
            outcome = await stage.next()
            trainer.submit(stage.request("offset", of=samples(300)))
            short = await stage.next()
        assert outcome.version is None
        assert outcome.result is not None
        assert any("differs too little" in reason for reason in outcome.reasons)
        assert outcome.event(1.0).data["verdict"]["n_blocks"] == 30
        assert short.reasons[0].startswith("samples in 30 blocks")

    run(main())


def test_a_process_that_does_not_start_is_a_rejection(tmp_path: Path) -> None:
    """And so is a disk that refuses."""

    async def main() -> None:
        stage = Stage(tmp_path)
        stage.command = (str(tmp_path / "nothing"),)
        async with stage.trainer() as trainer:
            trainer.submit(stage.request("offset"))
            assert (await stage.next()).reasons == ("the disk refused: No such file or directory",)
            # A file where the folder should be.
            trainer.submit(replace(stage.request("offset", BOB), folder=tmp_path / "stand_in.py"))
            assert (await stage.next()).reasons[0].startswith("the disk refused")

    run(main())


def test_one_at_a_time_and_no_more_wait_than_may(tmp_path: Path) -> None:
    """A participant's second request replaces the first that waits; beyond the bound requests are counted."""

    async def main() -> None:
        stage = Stage(tmp_path)
        n_running: list[int] = []
        stage.why_busy = "not yet"
        async with stage.trainer(replace(SETTINGS, max_waiting=2)) as trainer:
            assert trainer.submit(stage.request("offset", ANNA, samples(300)))
            assert trainer.submit(stage.request("offset", BOB))
            assert not trainer.submit(stage.request("offset", "p-0000000c"))
            assert trainer.submit(stage.request("offset", ANNA))
            assert trainer.n_refused == 1
            await asyncio.sleep(0.6)
            assert stage.outcomes == []
            stage.why_busy = None
            while len(stage.outcomes) < 2:
                n_running.append(len(children()))
                await asyncio.sleep(0.05)
        assert [outcome.participant for outcome in stage.outcomes] == [ANNA, BOB]
        assert all(outcome.version is not None for outcome in stage.outcomes)
        assert max(n_running) == 1

    run(main())


async def until(what: Callable[[], bool]) -> None:
    """Waits, not for ever."""
    async with asyncio.timeout(30):
        while not what():
            await asyncio.sleep(0.02)


def state_of(pid: int) -> str:
    """`R`, `S`, `T` (stopped) …; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return ""


def trained_by(stage: Stage) -> int | None:
    """The process that works in Anna's folder."""
    for pid in children():
        try:
            if str(stage.people.root) in Path(f"/proc/{pid}/cmdline").read_text():
                return pid
        except FileNotFoundError:
            continue
    return None


def test_the_real_process_trains_the_real_learners(tmp_path: Path) -> None:
    """With the heads that come with attuned, on embeddings that those read wrong in one way."""

    async def main() -> None:
        stage = Stage(tmp_path)
        stage.command = COMMAND
        async with stage.trainer() as trainer:
            for learner in ("head", "offset"):
                trainer.submit(replace(stage.request(learner, of=resting_sad()), basis=SHIPPED))
                outcome = await stage.next()
                assert outcome.result is not None, outcome.reasons
                assert outcome.result.verdict["figures"]["pooled_silhouette"] is not None
                assert outcome.version is not None, outcome.reasons
            trainer.submit(replace(stage.request("head"), basis=BASIS))
            assert (await stage.next()).reasons == ("the training broke (exit code 1)",)

    run(main())


def test_it_stops_while_the_machine_is_busy(tmp_path: Path) -> None:
    """The process is stopped, not killed, and goes on; it is the last in line all the time."""

    async def main() -> None:
        stage = Stage(tmp_path)
        async with stage.trainer() as trainer:
            trainer.submit(stage.request("hang"))
            await until(lambda: trained_by(stage) is not None)
            pid = trained_by(stage)
            assert pid is not None
            await until(lambda: os.getpriority(os.PRIO_PROCESS, pid) == 19)
            stage.why_busy = "readings are late"
            await until(lambda: state_of(pid) == "T")
            stage.why_busy = None
            await until(lambda: state_of(pid) in ("S", "R"))
        assert state_of(pid) == ""
        assert stage.outcomes == []

    run(main())


def test_patience_with_a_busy_machine_ends(tmp_path: Path) -> None:
    """A training that never gets its turn is given up, and says so."""

    async def main() -> None:
        stage = Stage(tmp_path)
        async with stage.trainer(replace(SETTINGS, patience_s=1.0)) as trainer:
            trainer.submit(stage.request("hang"))
            await until(lambda: trained_by(stage) is not None)
            stage.why_busy = "load"
            outcome = await stage.next()
        assert outcome.reasons == ("the machine was too busy to train within 1 s",)

    run(main())


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.4, 1.0])
def test_cancelled_at_any_moment_it_leaves_nothing(tmp_path: Path, after_s: float) -> None:
    """No process, no folder of the job, no outcome."""

    async def main() -> None:
        stage = Stage(tmp_path)
        async with stage.trainer() as trainer:
            trainer.submit(stage.request("hang"))
            await asyncio.sleep(after_s)
        assert children() == set()
        assert not (stage.people.folder(ANNA) / JOB).exists()
        assert stage.outcomes == []

    run(main())


def test_who_is_forgotten_is_dropped_first(tmp_path: Path) -> None:
    """Waiting and running requests end without an outcome; then the folder can be erased; others are worked on."""

    async def main() -> None:
        stage = Stage(tmp_path)
        async with stage.trainer() as trainer:
            trainer.submit(stage.request("hang"))
            await until(lambda: trained_by(stage) is not None)
            trainer.submit(stage.request("offset", ANNA))
            trainer.submit(stage.request("offset", BOB))
            await trainer.drop(ANNA)
            assert not (stage.people.folder(ANNA) / JOB).exists()
            assert stage.people.forget(ANNA)
            outcome = await stage.next()
            await trainer.drop("p-0000000d")
        assert outcome.participant == BOB
        assert stage.people.known() == (BOB,)

    run(main())


OWNER = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
import test_trainer as t

async def main():
    stage = t.Stage(Path(sys.argv[1]))
    async with stage.trainer() as trainer:
        trainer.submit(stage.request("hang"))
        await t.until(lambda: t.trained_by(stage) is not None)
        pid = t.trained_by(stage)
        if sys.argv[2] == "stopped":
            await t.until(lambda: t.os.getpriority(t.os.PRIO_PROCESS, pid) == 19)
            stage.why_busy = "load"
            await t.until(lambda: t.state_of(pid) == "T")
        print(pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_kill_9_of_the_daemon_ends_the_training_and_the_next_start_is_clean(tmp_path: Path, state: str) -> None:
    """The process goes with its parent, even while it is stopped; what it worked on is removed, heads and samples stay."""
    people = People(tmp_path / "personal")
    with Buffer(people.folder(ANNA), basis=BASIS) as buffer:
        buffer.add(1, Features(np.ones(DIM, np.float32), None, None, 0.5), Label.of("fear", Origin.SHEET))
    (tmp_path / "old").write_bytes(b"head")
    source = OWNER.format(root=str(ROOT), tests=str(Path(__file__).parent))
    owner = subprocess.Popen([sys.executable, "-c", source, tmp_path, state], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    deadline = time.monotonic() + 10
    while state_of(pid) not in ("", "Z") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert state_of(pid) in ("", "Z")
    assert (people.folder(ANNA) / JOB).exists()
    assert people.sweep() >= 1
    assert not (people.folder(ANNA) / JOB).exists()
    with Buffer(people.folder(ANNA), basis=BASIS) as buffer:
        assert (buffer.counts().n, buffer.notices) == (1, ())


@pytest.mark.parametrize(
    ("p95_s", "load", "why"),
    [
        (None, 0.5, None),
        (0.4, 2.9, None),
        (0.6, 0.5, "readings are 0.60 s late"),
        (0.4, 3.1, "load 3.1 on 2 cores"),
    ],
)
def test_when_the_machine_is_busy(p95_s: float | None, load: float, why: str | None) -> None:
    """Late readings or a long queue for the processors."""
    assert why_busy(p95_s, load, max_p95_s=0.5, max_load_per_core=1.5, cores=2) == why


def test_rolling_back_is_an_event() -> None:
    """What was watched, for how long, and who serves now."""
    event = rolled_back(ANNA, Harm("personal-3", 13, 0.41, 1172.0), 9.0)
    assert (event.kind, event.participants, event.data["version"]) == ("head_rolled_back", (ANNA,), "personal-3")
    assert event.data["serves"] == "generic"
    assert "worse than the generic head" in event.data["reasons"][0]
