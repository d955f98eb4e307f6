"""From errors to lines and exit codes."""

import json
import logging
from pathlib import Path

import pytest
import structlog
import typer

from config.errors import ConfigError
from config.settings import load_settings
from daemon.commands import one_line_errors
from daemon.doctor import examine
from daemon.errors import FailedError, SourceError
from daemon.logs import configure_logs
from models.errors import ModelError

RAISED = {
    "config": (ConfigError(["a:1: x", "a:2: y"]), 2, "attuned: a:1: x\nattuned: a:2: y\n"),
    "source": (SourceError("v.mp4: is empty"), 2, "attuned: v.mp4: is empty\n"),
    "failed": (FailedError("it broke"), 1, "attuned: it broke\n"),
    "model": (ModelError("pixel.onnx is missing"), 2, "attuned: pixel.onnx is missing\n"),
    "stopped": (KeyboardInterrupt(), 1, "attuned: stopped\n"),
    "group": (ExceptionGroup("", [ExceptionGroup("", [SourceError("gone")])]), 2, "attuned: gone\n"),
    "models in a group": (ExceptionGroup("", [ModelError("bad hash")]), 2, "attuned: bad hash\n"),
}


@pytest.mark.parametrize(("error", "code", "text"), RAISED.values(), ids=RAISED.keys())
def test_told_errors_are_lines(error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with the contract's exit code, on stderr, without a traceback."""

    @one_line_errors
    def command() -> None:
        raise error

    with pytest.raises(typer.Exit) as caught:
        command()
    assert (code, text) == (caught.value.exit_code, capsys.readouterr().err)


def test_a_bug_stays_a_bug() -> None:
    """What nobody declared goes through, alone or beside a told error."""
    for bug in (ZeroDivisionError(), ExceptionGroup("", [SourceError("gone"), ZeroDivisionError()])):

        @one_line_errors
        def command(bug: BaseException = bug) -> None:
            raise bug

        with pytest.raises(type(bug)):
            command()


def test_logs_are_json_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    """One object per line with level and time, from us and from libraries; chatter below the level is not there."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    try:
        configure_logs(level="info", style="auto")
        structlog.get_logger().info("broker lost", port=1883)
        structlog.get_logger().debug("not this")
        logging.getLogger("amqtt.broker").warning("nor this")
        logging.getLogger("somebody").warning("but this")
    finally:
        root.handlers[:] = before
        structlog.reset_defaults()
    rows = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(row["event"], row["level"]) for row in rows] == [("broker lost", "info"), ("but this", "warning")]
    assert rows[0]["port"] == 1883


def test_doctor_tells_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder that cannot be written is a finding with its remedy, not an error."""
    (tmp_path / "attuned").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    findings = {finding.what: finding for finding in examine(load_settings())}
    assert not findings["state folder"].ok
    assert "set state_dir" in findings["state folder"].detail
    assert findings["expression models"].ok
