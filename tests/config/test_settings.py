"""Settings from YAML, the environment and the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel, SecretStr

from config.errors import ConfigError
from config.sections import secret
from config.settings import Settings, find_config, load_settings

DEFAULT = Path(__file__).parents[2] / "config" / "default.yaml"


def mistakes(path: Path) -> tuple[str, ...]:
    """What is wrong with a file."""
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    return caught.value.mistakes


def written(tmp_path: Path, text: str) -> Path:
    """A settings file."""
    path = tmp_path / "attuned.yaml"
    path.write_text(text)
    return path


def test_the_documented_defaults_are_the_defaults() -> None:
    """default.yaml names every setting, with the value it has without any file."""
    assert load_settings().model_dump() == load_settings(DEFAULT).model_dump()
    document = yaml.safe_load(DEFAULT.read_text())
    sections = {name: value for name, value in Settings().model_dump().items() if isinstance(value, dict)}
    assert {name: set(value) for name, value in sections.items()} == {name: set(document[name]) for name in sections}
    assert set(Settings.model_fields) == set(document)


def test_every_mistake_is_told_at_once_with_line_and_key(tmp_path: Path) -> None:
    """Bounds, types, unknown keys and refused purposes, each where it stands."""
    path = written(
        tmp_path,
        "mqtt:\n  port: 99999\n  hots: x\nanalysis:\n  rate_hz: often\nsessions:\n"
        "  - {name: a, url: v.mp4, purpose: workplace}\ntypo: 1\n",
    )
    found = "\n".join(mistakes(path))
    for part in (
        f"{path}:2: mqtt.port: ",
        f"{path}:3: mqtt.hots: no such setting",
        f"{path}:5: analysis.rate_hz: ",
        f"{path}:7: sessions.0.purpose: workplace is refused: ",
        f"{path}:8: typo: no such setting",
    ):
        assert part in found
    assert len(mistakes(path)) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fusion: {rule: best}", "fusion.rule"),
        ("mqtt: [1", ":1: is not YAML"),
        ("- 1\n", ":1: expected settings as `key: value`"),
        ("1: 2\n", ":1: expected settings as `key: value`"),
        ("sessions:\n - {name: a, url: v, purpose: demo}\n - {name: a, url: w, purpose: demo}\n", "names must differ"),
        ("node: 2026-13-45\n", "is not what it looks like (month must be in 1..12); put it into quotes"),
        ("node: !!timestamp x\n", "put it into quotes"),
        ("node: !!bool x\n", "put it into quotes"),
        ("node: !!int _\n", "put it into quotes"),
        ("node: a\0b\n", "special characters are not allowed"),
        ('"a\\nb": 1\n', "a b: no such setting"),
    ],
)
def test_files_that_are_no_settings(tmp_path: Path, text: str, message: str) -> None:
    """Broken YAML, a list, numbers as keys, two sessions of one name, values that only look like something: a line each."""
    found = mistakes(written(tmp_path, text))
    assert message in found[0]
    assert not any("\n" in mistake for mistake in found)


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    """Nothing set is nothing wrong."""
    assert load_settings().model_dump() == load_settings(written(tmp_path, "# nothing\n")).model_dump()


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    """Given by name, it has to be there; binary is no text."""
    assert "cannot be read" in mistakes(tmp_path / "none.yaml")[0]
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8 text" in mistakes(tmp_path / "binary.yaml")[0]


def test_command_line_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wins over the next, key by key."""
    path = written(tmp_path, "mqtt: {broker: external, port: 1, host: file, root: file}\n")
    monkeypatch.setenv("ATTUNED_MQTT__PORT", "2")
    monkeypatch.setenv("ATTUNED_MQTT__HOST", "environment")
    mqtt = load_settings(path, overrides={"mqtt": {"port": 3}}).mqtt
    assert (mqtt.port, mqtt.host, mqtt.root) == (3, "environment", "file")


def test_misspelt_variables_are_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that sets nothing is told, one with a bad value is told by its name, ours that is none is let be."""
    monkeypatch.setenv("ATTUNED_MQTTT__PORT", "2")
    monkeypatch.setenv("ATTUNED_HTTP__PORT", "none")
    monkeypatch.setenv("ATTUNED_DEV_DATA", "/somewhere")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    first, second = caught.value.mistakes
    assert "environment: ATTUNED_MQTTT__PORT: no such setting" in first
    assert second.startswith("environment: ATTUNED_HTTP__PORT: http.port: ")


def test_a_section_as_one_variable_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sections are set key by key; anything else is one line, not a traceback."""
    monkeypatch.setenv("ATTUNED_MQTT", "foo")
    with pytest.raises(ConfigError, match="ATTUNED_MQTT__PORT"):
        load_settings()


def test_the_embedded_broker_is_for_this_machine_alone(tmp_path: Path) -> None:
    """It asks nobody who they are, so it does not listen where others could come."""
    assert "embedded broker" in mistakes(written(tmp_path, "mqtt: {host: 0.0.0.0}\n"))[0]


def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither repr nor dump gives it away."""
    monkeypatch.setenv("ATTUNED_MQTT__PASSWORD", "hunter2")
    settings = load_settings()
    assert "hunter2" not in repr(settings) + str(settings.model_dump(mode="json"))


def test_configuration_is_looked_for_in_two_places(tmp_path: Path) -> None:
    """The working folder first, then the home of configurations, else nowhere."""
    here, home = tmp_path / "here", tmp_path / "home"
    (home / "attuned").mkdir(parents=True)
    here.mkdir()
    assert find_config(here, home) is None
    (home / "attuned" / "attuned.yaml").touch()
    assert find_config(here, home) == home / "attuned" / "attuned.yaml"
    (here / "attuned.yaml").touch()
    assert find_config(here, home) == here / "attuned.yaml"


def test_a_token_that_is_nothing_is_refused(tmp_path: Path) -> None:
    """A variable that is set to nothing would open the daemon to everybody who sends nothing."""
    for word in ("", "  ", " word"):
        [found] = mistakes(written(tmp_path, f"http: {{host: 0.0.0.0, token: '{word}'}}\n"))
        assert "http.token: is empty, or has blanks" in found
    [found] = mistakes(written(tmp_path, "http: {host: 0.0.0.0}\n"))
    assert "set http.token or http.token_file" in found


def test_more_sessions_than_may_run_are_refused(tmp_path: Path) -> None:
    """It is known before anything starts."""
    sessions = "".join(f"  - {{name: n{i}, url: a.mp4, purpose: research}}\n" for i in range(3))
    [found] = mistakes(written(tmp_path, f"limits: {{sessions: 2}}\nsessions:\n{sessions}"))
    assert "3 are more than limits.sessions, 2" in found


def test_two_tiles_of_one_participant_are_refused(tmp_path: Path) -> None:
    """Nobody sits in two places."""
    tile = "{rect: [0, 0, 9, 9], participant: p-00000001}"
    [found] = mistakes(written(tmp_path, f"gallery: {{tiles: [{tile}, {tile}]}}\n"))
    assert "every participant has one tile" in found


def test_secrets_come_from_settings_or_files(tmp_path: Path) -> None:
    """As set, else the first line of the file; a file that is missing or empty is one line."""
    path = tmp_path / "word"
    assert secret(None, None) is None
    assert secret(SecretStr("set"), path) == "set"
    with pytest.raises(ConfigError, match="cannot be read"):
        secret(None, path)
    path.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        secret(None, path)
    path.write_text("word \nmore\n")
    assert secret(None, path) == "word"


COMPANIONS = {
    "mqtt.tls": {"mqtt.broker": "external"},
    "mqtt.ca_file": {"mqtt.broker": "external", "mqtt.tls": "true"},
    "mqtt.cert_file": {"mqtt.broker": "external", "mqtt.tls": "true"},
    "mqtt.key_file": {"mqtt.broker": "external", "mqtt.tls": "true", "mqtt.cert_file": "c"},
    "mqtt.verify_host": {"mqtt.broker": "external", "mqtt.tls": "true"},
    "mqtt.host": {"mqtt.broker": "external"},
    "http.host": {"http.token": "word"},
    "personal.trigger.n_samples": {"personal.max_samples": "100000"},
    "personal.max_samples": {},
    "personal.trigger.n_blocks": {},
    "personal.gate.n_blocks": {"personal.trigger.n_blocks": "100000"},
}
"""What must be set too, where a setting says nothing without another."""
OWN = {
    "gallery.grid": "[3, 2]",
    "gallery.tiles": '[{"rect": [0, 0, 9, 9]}]',
    "home_assistant.sessions": '["a"]',
    "webrtc.addresses": '["127.0.0.1"]',
    "http.origins": '["https://studio.example"]',
    "api.schemes": '["rtsp"]',
    "api.networks": '["192.168.1.0/24"]',
    "webrtc.stun": "stun:host:1",
    "webrtc.turn": "turn:host:1",
    "engagement.alike_lags_s": "[11, 31]",
    "sessions": '[{"name": "a", "url": "rtsp://camera/1", "purpose": "research"}]',
}
"""Values that are not to be guessed from the schema."""


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with dots, and its field."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def candidates(key: str, field: Any) -> list[str]:  # noqa: ANN401 (a field)
    """Words for values that a field may take, other than its default."""
    if key in OWN:
        return [OWN[key]]
    default, kind = field.default, str(field.annotation)
    if isinstance(default, bool):
        return [str(not default).lower()]
    if isinstance(default, int | float):
        tries = [default + 1, default - 1, default * 1.01, default * 0.99, default / 2 + 0.01, default / 2]
        return [str(int(t)) for t in tries] if "int" in kind else [str(t) for t in tries]
    if get_origin(field.annotation) is Literal:
        return [word for word in get_args(field.annotation) if word != default]
    return ["word", "0.5"]


def _known() -> list[tuple[str, Any]]:
    return list(keys(Settings))


@pytest.mark.parametrize(("key", "field"), _known(), ids=[key for key, _ in _known()])
def test_every_key_can_be_set_by_the_environment(key: str, field: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    """`mqtt.host` is ATTUNED_MQTT__HOST, whatever its type and however deep."""

    def name(dotted: str) -> str:
        return "ATTUNED_" + dotted.upper().replace(".", "__")

    for other, word in COMPANIONS.get(key, {}).items():
        monkeypatch.setenv(name(other), word)

    def value_in(settings: Any) -> Any:  # noqa: ANN401
        for part in key.split("."):
            settings = getattr(settings, part)
        return settings

    before, refused = value_in(Settings.model_construct()), []
    for word in candidates(key, field):
        monkeypatch.setenv(name(key), word)
        try:
            after = value_in(load_settings())
        except ConfigError as error:
            refused.append(str(error))
            continue
        assert after != before, f"{name(key)}={word} changes nothing"
        return
    pytest.fail(f"no value tried for {name(key)} is allowed: {refused}")


def test_the_default_file_names_every_key() -> None:
    """Also those of sections within sections."""
    document = yaml.safe_load(DEFAULT.read_text())
    for key, _ in _known():
        at: Any = document
        for part in key.split("."):
            assert part in at, key
            at = at[part]
