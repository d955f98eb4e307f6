"""Seeds through worker processes, one thread each, that end when whoever started them does."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from typing import Final, TypeVar

from daemon.errors import FailedError

T = TypeVar("T")
Work = Callable[[], T]

_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def in_workers(works: Sequence[Work[T]], jobs: int, done: Callable[[Sequence[T]], None]) -> list[T]:
    """What each piece of work returns, in their order; `done` is shown what those that are over returned. All must pickle.

    Raises:
        FailedError: A process died.
    """
    results: list[T] = []
    with _one_thread_each():
        # Spawned: forking would copy the locks of native threads that are not copied.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_end_with_parent) as pool:
            pending: list[Future[T]] = [pool.submit(work) for work in works]
            try:
                for future in pending:
                    results.append(future.result())
                    done(results)
            except BrokenProcessPool:
                msg = "a process that simulated died; free some memory, or give fewer --jobs"
                raise FailedError(msg) from None
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    return results


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Sums of several threads differ in their last bits; and the seeds keep all cores busy as it is."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _end_with_parent() -> None:
    """In a worker: Ctrl-C ends it without a word, and so does the end of whoever started it, however that came."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), name="parent", daemon=True).start()


def _exit_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
