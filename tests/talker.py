"""A process that is told and tells one JSON object a line."""

import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parent.parent
_ENVIRONMENT = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}


class Talker:
    """A running process; leaving the context ends it.

    Args:
        command: Its command line.
        stderr: Where its error output goes.
    """

    def __init__(self, command: Sequence[str], stderr: Path) -> None:
        self.heard: list[dict[str, Any]] = []
        self.stderr = stderr
        with stderr.open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | _ENVIRONMENT,
            )
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def tell(self, **said: object) -> None:
        """Writes one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(said) + "\n")
        self.process.stdin.flush()

    def until(self, wanted: Callable[[dict[str, Any]], object], timeout_s: float = 20) -> dict[str, Any]:
        """The next line that is wanted."""
        end_s = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end_s - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                tail = self.heard[-5:], self.stderr.read_text()[-3000:]
                raise AssertionError(f"not heard within {timeout_s} s, last: {tail}")  # noqa: EM102, TRY003
            self.heard.append(line)
            if wanted(line):
                return line

    def finish(self, timeout_s: float = 15) -> dict[str, Any]:
        """Ends its input, waits for it to end by itself, and returns its last line."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(timeout_s) == 0, self.stderr.read_text()[-3000:]
        self._reader.join()
        while (line := self._lines.get_nowait()) is not None:
            self.heard.append(line)
        return self.heard[-1]

    def kill(self) -> None:
        """Ends it now."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)
