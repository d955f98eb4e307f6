"""The process that trains one personal head: `python -m daemon.training_process FOLDER --memory-mb N --cpu-s N`.

It yields to everything else on the machine, keeps to its limits, and ends when its parent does. Exit codes: 0 there is a result, 1 it broke (a traceback on
standard error, for the log), 71 out of memory.
"""

import argparse
import ctypes
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from models.personal.training import Job, Learns, Reads

NICEST: Final = 19
OUT_OF_MEMORY: Final = 71
MAX_FILE_BYTES: Final = 128 << 20
_ORPHANED: Final = 72
_PR_SET_PDEATHSIG: Final = 1

Learners = Callable[["Job"], tuple["Learns", "Reads"]]
"""A fresh learner of the job's name, and the generic heads that it is compared with."""


def main(arguments: Sequence[str] | None = None, *, learners: Learners | None = None) -> int:
    """Runs one job and returns the exit code."""
    parser = argparse.ArgumentParser(prog="daemon.training_process")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--memory-mb", type=int, required=True)
    parser.add_argument("--cpu-s", type=int, required=True)
    options = parser.parse_args(arguments)
    keep_to_limits(memory_mb=options.memory_mb, cpu_s=options.cpu_s)
    end_with_the_parent()
    try:
        work(options.folder, learners or shipped)
    except MemoryError:
        return OUT_OF_MEMORY
    return 0


def keep_to_limits(*, memory_mb: int, cpu_s: int) -> None:
    """Makes this process the last in line, and bounds memory, processor time and the size of its files.

    Memory is what it allocates (RLIMIT_DATA). The address space would be the wrong measure: libraries reserve much of
    it that they never use. One thread computes: a limit on processor time is then one on time.
    """
    os.nice(NICEST)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    most = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    # SIGXCPU at the soft limit; SIGKILL for who does not heed it.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def work(folder: Path, learners: Learners) -> None:
    """Reads the job, trains, judges, and writes the result."""
    # numpy is loaded within the limits.
    from models.personal.pooled import pooled_silhouette  # noqa: PLC0415
    from models.personal.training import attempt, read_job  # noqa: PLC0415

    samples, job = read_job(folder)
    personal, generic = learners(job)
    attempt(
        folder,
        samples,
        job,
        personal=personal,
        generic=generic,
        pooled=lambda classes: pooled_silhouette(job.models, classes, n_components=job.gate.n_components),
    )


def shipped(job: "Job") -> tuple["Learns", "Reads"]:
    """The learner of the job's name, and the heads of the models that come with attuned.

    Raises:
        ModelError: There is none of this name, or these are not the models that read the samples.
    """
    from models.errors import ModelError  # noqa: PLC0415
    from models.manifest import find_entry  # noqa: PLC0415
    from models.personal.catalogue import make_learner  # noqa: PLC0415
    from models.personal.heads import generic_arms  # noqa: PLC0415

    if tuple(find_entry(name).sha256 for name in job.names) != job.models:
        msg = "the samples were read by other models than those of the manifest"
        raise ModelError(msg)
    generic = generic_arms(*job.names)
    return make_learner(job.learner, generic, noise=job.gate.noise), generic


def end_with_the_parent() -> None:
    """However the parent ends, this process does too: by the kernel's hand on Linux, even while it is stopped.

    Elsewhere, and if the parent was gone before this began, by the end of its standard input: the parent holds the
    other end and writes nothing.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_until_the_end_of_input, daemon=True).start()


def _until_the_end_of_input() -> None:
    while os.read(0, 1024):
        pass
    os._exit(_ORPHANED)


if __name__ == "__main__":
    sys.exit(main())
