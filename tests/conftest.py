"""What all tests share: where development data lie, and that nothing outlives a test."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

# New examples are for those who can look at them; what must land is judged by the same ones every time.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("local", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def _one_thread_each() -> Iterator[None]:
    """Small problems are slower on several threads, much so where tests run beside each other."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def dev_data() -> Path:
    """The folder of development data; the test skips where it is absent, except in CI, where it fails."""
    folder = Path(os.environ.get("ATTUNED_DEV_DATA", ROOT / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder} is needed in CI; set ATTUNED_DEV_DATA")
        pytest.skip(f"no development data in {folder}; set ATTUNED_DEV_DATA")
    return folder


@pytest.fixture(autouse=True)
def no_thread_outlives_a_test() -> Iterator[None]:
    """Executors that a test forgot to shut down would show as new threads of ours."""
    before = set(threading.enumerate())
    yield
    ours = ("decode", "faces", "outbox", "trainer", "history", "lsl")
    left = [t.name for t in threading.enumerate() if t not in before and t.name.startswith(ours)]
    assert left == [], f"threads outlive the test: {left}"
