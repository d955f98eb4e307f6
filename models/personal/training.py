"""One attempt at a head: train on the earlier part, judge on the later, write what came of it.

It runs in a process of its own, which reads a folder and writes into it: `samples.npz` and `job.json` are given,
`candidate.head` and `result.json` come of it. What a process that broke, was killed or lies has left there is looked
at by `read_result` before anything is made of it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from models.errors import ModelError
from models.personal.comparison import separability
from models.personal.gate import (
    DEFAULT_GATE,
    GateSettings,
    Judged,
    Verdict,
    by_people,
    classes_of,
    judge,
    split_by_people,
    split_in_time,
)
from models.personal.heads import read_arrays, write_arrays
from models.personal.private import write_private
from models.personal.samples import I64, Samples, stretches, unmixed
from pipeline.emotions import EMOTIONS, F32, F64, N_EMOTIONS
from pipeline.metrics import Bool

SAMPLES: Final = "samples.npz"
JOB: Final = "job.json"
CANDIDATE: Final = "candidate.head"
RESULT: Final = "result.json"
MAX_RESULT_BYTES: Final = 1 << 20

EMBEDDED: Final = frozenset({"offset", "head"})
"""Learners that see embeddings; the others see the interpretable features."""


class Reads(Protocol):
    """Whatever says what samples show."""

    def predict_proba(self, samples: Samples) -> F64:
        """(n, 7) probabilities."""
        ...


class Learns(Reads, Protocol):
    """A learner of personal heads."""

    def fit(self, samples: Samples, seed: int) -> object:
        """Learns from samples; the same seed gives the same head."""
        ...

    def save(self, path: Path) -> object:
        """Writes the head into a file."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What a training process is asked for.

    learner: its name. models: SHA-256 of the pixel and the landmark model. names: their names in the manifest.
    """

    learner: str
    seed: int
    models: tuple[str, str]
    names: tuple[str, str] = ("pixel", "landmark")
    gate: GateSettings = DEFAULT_GATE


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it: the verdict as JSON, and where it is a head that may serve, the hash of its file."""

    passed: bool
    reasons: tuple[str, ...]
    verdict: Mapping[str, Any]
    classes: tuple[str, ...] = ()
    trained_until_s: float = 0.0
    sha256: str | None = None


def write_job(folder: Path, samples: Samples, job: Job) -> None:
    """Puts a job and the samples as they are now into a folder.

    Raises:
        OSError: The disk refuses.
    """
    write_arrays(folder / SAMPLES, {field.name: getattr(samples, field.name) for field in fields(Samples)})
    write_private(folder / JOB, json.dumps(asdict(job)).encode())


def read_job(folder: Path) -> tuple[Samples, Job]:
    """What `write_job` wrote.

    Raises:
        ModelError, OSError, KeyError, TypeError, ValueError: It is not what was written.
    """
    arrays = read_arrays(folder / SAMPLES)
    table = json.loads((folder / JOB).read_text(encoding="utf-8"))
    pair: Callable[[str], tuple[str, str]] = lambda key: (table[key][0], table[key][1])  # noqa: E731
    job = Job(table["learner"], table["seed"], pair("models"), pair("names"), GateSettings(**table["gate"]))
    return Samples(**{field.name: arrays[field.name] for field in fields(Samples)}), job  # type: ignore[arg-type]  # npz


def attempt(
    folder: Path,
    samples: Samples,
    job: Job,
    *,
    personal: Learns,
    generic: Reads,
    pooled: Callable[[tuple[int, ...]], float | None],
) -> None:
    """Trains, judges, and writes the candidate (only one that may serve) and the result into the folder.

    generic: what the head is compared with. pooled: silhouette of many people's faces of these classes.

    Raises:
        OSError: The disk refuses.
    """
    verdict, trained_until_s = train_and_judge(samples, job, personal=personal, generic=generic, pooled=pooled)
    digest = None
    if verdict.passed:
        personal.save(folder / CANDIDATE)
        digest = sha256((folder / CANDIDATE).read_bytes()).hexdigest()
    told = {"verdict": verdict.as_json(), "trained_until_s": trained_until_s, "sha256": digest}
    write_private(folder / RESULT, json.dumps(told).encode())


def train_and_judge(
    samples: Samples,
    job: Job,
    *,
    personal: Learns,
    generic: Reads,
    pooled: Callable[[tuple[int, ...]], float | None],
) -> tuple[Verdict, float]:
    """The verdict on what `personal` learns, and the time of the last sample that it saw.

    It learns from the earlier part and is judged on the later one, and stays as it was judged. Where people's labels
    judge, data are few: then it is trained anew every few of their stretches on all before, is judged on these, and at
    the end learns from everything ("rolling origin").
    """
    samples = readable(samples, job.learner)
    whole = split_in_time(samples.time_s, job.gate)
    gate = by_people(job.gate)
    people = split_by_people(samples, gate)
    # People's labels judge alone where they suffice, unless they are so old that less would be learnt from.
    rolls = people.why_not is None and people.earlier.sum() >= whole.earlier.sum()
    split, gate = (people, gate) if rolls else (whole, job.gate)
    if split.why_not is not None:
        return Verdict(reasons=(split.why_not,), n_trained=0), 0.0
    earlier, later = samples.take(split.earlier), samples.take(split.later)
    learnt = samples if rolls else earlier
    classes = classes_of(learnt.label, gate)
    names = tuple(EMOTIONS[c] for c in classes)
    if len(classes) < 2:  # noqa: PLR2004 (one class)
        told = f"fewer than two expressions have {gate.n_of_class} samples to learn from"
        return Verdict(reasons=(told,), n_trained=len(learnt), classes=names), 0.0
    block = None
    if rolls:
        said, known = _rolling(samples, later, gate, personal=personal, seed=job.seed)
        later, said = later.take(known), said[known]
        block = stretches(later.time_s, later.label)
        personal.fit(learnt, job.seed)
    else:
        personal.fit(learnt, job.seed)
        said = personal.predict_proba(later)
    clear = learnt.take(_clear(learnt, generic.predict_proba(learnt), gate.noise))
    verdict = judge(
        Judged(later.time_s, said, generic.predict_proba(later), later.told, classes, block, later.human),
        n_trained=len(learnt),
        silhouette=separability(*features_of(clear, job.learner), n_components=gate.n_components),
        pooled_silhouette=pooled(classes) if job.learner in EMBEDDED else None,
        seed=job.seed,
        settings=gate,
    )
    return verdict, float(learnt.time_s[-1])


def _clear(learnt: Samples, read: F64, noise: float) -> Bool:
    """(n,) of which samples it is asked whether a face differs between expressions.

    Not of what lies between two of them, nor of labels of the group that are rather wrong than right by what the generic
    heads read, (n, 7). A class of which little would be left keeps all: it changes too fast, or is never read.
    """
    clear = learnt.human | (unmixed(learnt.time_s, learnt.label) & (learnt.plausible(read, noise) > 0.5))  # noqa: PLR2004
    left, all_of = (np.bincount(label, minlength=N_EMOTIONS) for label in (learnt.label[clear], learnt.label))
    return np.asarray(clear | (2 * left < all_of)[learnt.label])


def _rolling(samples: Samples, later: Samples, gate: GateSettings, *, personal: Learns, seed: int) -> tuple[F64, Bool]:
    """(m, 7) of heads that learnt from what was before each of the m later samples, and which of these know its class."""
    block = stretches(later.time_s, later.label)
    part = block * min(gate.human_origins, block[-1] + 1) // (block[-1] + 1)
    said, known = np.zeros((len(later), N_EMOTIONS)), np.zeros(len(later), dtype=np.bool_)
    for number in range(part[-1] + 1):
        rows = np.flatnonzero(part == number)
        before = samples.take(samples.time_s < later.time_s[rows[0]] - gate.gap_s)
        classes = classes_of(before.label, gate)
        if len(classes) > 1:
            personal.fit(before, seed)
            said[rows] = personal.predict_proba(later.take(rows))
            known[rows] = np.isin(later.label[rows], classes)
    return said, known


def readable(samples: Samples, learner: str) -> Samples:
    """Those that a learner of this name can read: all have a picture, not all a mesh. For others the generic head serves."""
    return samples if learner in EMBEDDED else samples.take(np.isfinite(samples.interpretable).all(axis=1))


def features_of(samples: Samples, learner: str) -> tuple[F32, I64]:
    """(m, d) features that a learner of this name sees, and the (m,) labels, of the readable samples that have all.

    Of embeddings both arms, where any sample has a mesh, else those of the pixel arm.
    """
    if learner not in EMBEDDED:
        return samples.interpretable, samples.label
    seen = np.isfinite(samples.landmark).all(axis=1)
    if not seen.any():
        return samples.pixel, samples.label
    return np.concatenate([samples.pixel, samples.landmark], axis=1)[seen], samples.label[seen]


def read_result(folder: Path) -> Result:
    """What a training process left behind.

    Raises:
        ModelError: It is missing, no JSON, or contradicts itself; one line says what.
    """
    path = folder / RESULT
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RESULT_BYTES + 1)
    except FileNotFoundError:
        msg = "the training left no result"
        raise ModelError(msg) from None
    try:
        if len(data) > MAX_RESULT_BYTES:
            msg = "too long"
            raise ValueError(msg)  # noqa: TRY301 (told as what it is: no result)
        return _parsed(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        msg = "the training left what is no result"
        raise ModelError(msg) from None


def _parsed(table: Any) -> Result:  # noqa: ANN401 (whatever JSON holds)
    """Raises what indexing and converting raise where it is no result."""
    verdict, digest, until_s = table["verdict"], table["sha256"], float(table["trained_until_s"])
    passed, reasons = verdict["passed"], tuple(verdict["reasons"])
    names = tuple(verdict["classes"])
    told = all(isinstance(reason, str) for reason in reasons) and set(names) <= set(EMOTIONS)
    # A head that may serve has a file and no reason against it; any other has a reason and no file.
    if not told or not np.isfinite(until_s) or passed is not (not reasons) or passed is not isinstance(digest, str):
        msg = "contradiction"
        raise ValueError(msg)
    return Result(passed, reasons, verdict, names, until_s, digest)
