"""Secrets are in no repr, no text, no error, no dump."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from config.errors import ConfigError
from config.sections import SourceSection
from config.settings import Settings, load_settings
from daemon.api import SessionRequest
from daemon.sessions import Entry, plan_of
from daemon.sinks.broker_link import Dialler
from daemon.sources.opening import connection_to, ice_settings
from daemon.sources.rtsp import parse_address

WORD = "hunter2-Sesame"
YAML = f"""
mqtt: {{broker: external, username: maud, password: {WORD}}}
http: {{token: {WORD}}}
source: {{password: {WORD}, token: {WORD}, pin: {WORD}}}
webrtc: {{turn: "turn:host:3478", turn_username: maud, turn_password: {WORD}}}
sessions:
  - {{name: a, url: "rtsp://maud:{WORD}@camera/1?key={WORD}", purpose: research}}
  - {{name: b, url: "whep+https://maud:{WORD}@host/x?token={WORD}", purpose: research}}
  - {{name: c, url: "janus+http://host:8088/janus?room=1&pin={WORD}", purpose: research, source: {{pin: {WORD}}}}}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With a secret wherever there can be one."""
    path = tmp_path / "attuned.yaml"
    path.write_text(YAML)
    return load_settings(path)


def texts_of(value: object) -> str:
    """Everything that a log or a traceback could print of a value."""
    return f"{value!r} {value!s} {value}"


def test_settings_and_plans_show_no_secret(settings: Settings) -> None:
    """Whole, section by section, and what is made of them."""
    shown = [texts_of(settings), settings.model_dump_json(exclude={"sessions"})]
    for session in settings.sessions:
        plan = plan_of(session, settings.source)
        entry = Entry(plan)
        shown += [texts_of(session), texts_of(plan), texts_of(entry), str(entry.told())]
        connection = connection_to(plan, settings.webrtc, node_secret=b"x" * 32)
        shown.append(texts_of(connection))
    shown.append(texts_of(ice_settings(settings.webrtc)))
    shown.append(texts_of(parse_address(settings.sessions[0].url, "maud", WORD)))
    assert [text for text in shown if WORD in text] == []


def test_every_secret_of_the_settings_is_hidden_by_its_type() -> None:
    """A setting that is called password, token or pin is a SecretStr, or a file."""

    def fields(model: Any, at: str) -> list[str]:  # noqa: ANN401 (a model)
        found = []
        for name, field in model.model_fields.items():
            kind = str(field.annotation)
            if name in {"password", "token", "pin", "turn_password"} and "SecretStr" not in kind:
                found.append(f"{at}{name}")
            default = field.get_default(call_default_factory=True)
            if isinstance(default, BaseModel):
                found += fields(type(default), f"{at}{name}.")
        return found

    assert fields(Settings, "") == []
    assert fields(SourceSection, "source.") == []


def test_a_dialler_shows_no_password() -> None:
    """It is a dataclass, and these print everything."""
    fields = {field.name: None for field in dataclasses.fields(Dialler)}
    dialler = Dialler(**fields | {"host": "127.0.0.1", "port": 1, "password": WORD})  # type: ignore[arg-type]
    assert WORD not in texts_of(dialler)


def test_requests_and_their_errors_show_no_secret() -> None:
    """What is sent along with a request, also when something else in it is wrong."""
    body = {"url": f"rtsp://maud:{WORD}@camera/1", "purpose": "research", "password": WORD, "token": WORD, "pin": WORD}
    request = SessionRequest.model_validate(body)
    assert WORD not in texts_of(request)
    assert isinstance(request.password, SecretStr)
    with pytest.raises(ValidationError) as refused:
        SessionRequest.model_validate(body | {"purpose": "workplace", "name": "a b"})
    assert WORD not in str(refused.value.errors(include_url=False, include_input=False))


@pytest.mark.parametrize(
    "line",
    [
        f"http: {{token: [{WORD}]}}",
        f"source: {{password: {{x: {WORD}}}}}",
        f"sessions: [{{name: a, url: 'rtsp://u:{WORD}@c/1', purpose: workplace}}]",
        f"sessions: [{{name: 'a b', url: 'rtsp://u:{WORD}@c/1', purpose: research, extra: {WORD}}}]",
    ],
)
def test_a_mistake_in_the_configuration_is_told_without_the_secret(tmp_path: Path, line: str) -> None:
    """Line and key, not the value."""
    path = tmp_path / "attuned.yaml"
    path.write_text(line)
    with pytest.raises(ConfigError) as refused:
        load_settings(path)
    assert WORD not in str(refused.value) + "".join(refused.value.mistakes)
