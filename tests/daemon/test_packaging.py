"""What installs attuned as a service or in containers, as far as it can be checked without either."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml
from grafana_foundation_sdk import __file__ as SDK  # noqa: N812 (where it lies)

from config.settings import load_settings

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
UNIT = ROOT / "packaging" / "attuned.service"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())


def program(name: str) -> str:
    """A program of the system; the test skips where it is absent, except in CI, where it fails."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is needed in CI; make test installs it where it may")
        pytest.skip(f"{name} is not installed")
    return found


# The image


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile, lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined) if name]


def of(name: str) -> list[str]:
    """Arguments of all instructions of a kind."""
    return [rest for kind, rest in instructions() if kind == name]


def sent_to_the_builder(path: str) -> bool:
    """Whether .dockerignore lets a path through: the last rule that fits decides."""
    is_sent = True
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if rule and not rule.startswith("#") and fnmatch(path, rule.removeprefix("!")):
            is_sent = rule.startswith("!")
    return is_sent


def test_the_image_is_made_of_files_that_are_there() -> None:
    """Whatever is copied from the checkout exists, and reaches the builder."""
    sources = [source for copy in of("COPY") if "--from" not in copy for source in copy.split()[:-1]]
    assert {"pyproject.toml", "constraints.txt", "pipeline", "models", "config", "daemon"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert sent_to_the_builder(source), source
    assert not sent_to_the_builder(".git")
    assert not sent_to_the_builder(".env")


def test_the_image_has_the_libraries_that_the_makefile_installs() -> None:
    """The same list, less what the image of Python brings."""
    [libraries] = re.findall(r"system\.sh (.*python3-venv)$", MAKEFILE, re.MULTILINE)
    [installed] = [re.findall(r"apt-get install ([^&]*)", run)[0] for run in of("RUN") if "apt-get install" in run]
    assert {word for word in installed.split() if not word.startswith("-")} == set(libraries.split()) - {"python3-venv"}


def test_the_image_runs_what_the_project_has() -> None:
    """The command, its extras, the Python that is allowed, and the port that is the default."""
    assert json.loads(of("ENTRYPOINT")[0]) == list(PROJECT["scripts"])
    [pip] = [run for run in of("RUN") if "pip install" in run]
    extras = re.findall(r"\.\[(.*)\]", pip)[0].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    assert "--constraint constraints.txt" in pip
    for image in of("FROM"):
        version = tuple(map(int, re.findall(r"python:(\d+)\.(\d+)-", image)[0]))
        assert (3, 11) <= version < (3, 13)
    assert PROJECT["requires-python"] == ">=3.11,<3.13"
    assert of("EXPOSE") == [str(load_settings().http.port)]
    assert of("USER")[-1] not in {"root", "0"}
    done = subprocess.run(
        [sys.executable, "-m", "daemon", *json.loads(of("CMD")[0])[:1], "--help"], capture_output=True, check=False
    )
    assert done.returncode == 0


def test_an_installed_attuned_has_all_its_files() -> None:
    """Every file in the packages that is no Python is named as package data: images and wheels hold nothing else."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    patterns = [f"{package.replace('.', '/')}/{glob}" for package, globs in table.items() for glob in globs]
    found = subprocess.run(
        ["git", "ls-files", "pipeline", "models", "config", "daemon"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    others = [path for path in found.stdout.split() if not path.endswith(".py")]
    assert others
    assert [path for path in others if not any(fnmatch(path, pattern) for pattern in patterns)] == []


# The containers


def test_compose_is_what_the_specification_allows() -> None:
    """As a parser of the Compose specification reads it; a key that it does not know is refused."""
    text = (ROOT / "compose.yaml").read_text()
    compose_spec.PyCompose.from_yaml(text).validate()
    with pytest.raises(ValueError, match="secretz"):
        compose_spec.PyCompose.from_yaml(text.replace("secrets: [http_token]", "secretz: [http_token]")).validate()


def mounts() -> list[tuple[str, str, str]]:
    """Service, source and target of every volume."""
    return [
        (name, *volume.split(":")[:2]) for name, service in COMPOSE["services"].items() for volume in service["volumes"]
    ]


def test_everything_that_is_mounted_exists() -> None:
    """Files of the checkout, read-only; volumes that are declared."""
    for name, source, _ in mounts():
        if source.startswith("./"):
            assert (ROOT / source).exists(), source
            assert any(
                volume.startswith(source) and volume.endswith(":ro") for volume in COMPOSE["services"][name]["volumes"]
            )
        else:
            assert source in COMPOSE["volumes"]
    assert {source for _, source, _ in mounts() if not source.startswith("./")} == set(COMPOSE["volumes"])


def test_nothing_is_published_beyond_loopback() -> None:
    """Everything that listens for the machine listens on 127.0.0.1."""
    ports = [port for service in COMPOSE["services"].values() for port in service["ports"]]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_containers_find_each_other() -> None:
    """Names, ports and secrets of one are those of the other."""
    settings = load_settings(ROOT / "packaging" / "compose" / "attuned.yaml")
    services = COMPOSE["services"]
    assert settings.mqtt.host in services
    assert f"127.0.0.1:{settings.mqtt.port}:{settings.mqtt.port}" in services["mosquitto"]["ports"]
    assert f"listener {settings.mqtt.port}\n" in (ROOT / "packaging/compose/mosquitto.conf").read_text()
    scrape = yaml.safe_load((ROOT / "packaging/compose/prometheus.yml").read_text())
    [job] = scrape["scrape_configs"]
    assert job["job_name"] == "attuned"  # rules and dashboards ask for it
    assert job["static_configs"] == [{"targets": [f"attuned:{settings.http.port}"]}]
    assert job["authorization"]["credentials_file"] == str(settings.http.token_file)
    [secret] = COMPOSE["secrets"]
    assert str(settings.http.token_file) == f"/run/secrets/{secret}"
    for name in ("attuned", "prometheus"):
        assert services[name]["secrets"] == [secret]
    targets = {target for name, _, target in mounts() if name == "prometheus"}
    assert {f"/etc/prometheus/{rule}" for rule in scrape["rule_files"]} <= targets
    [source] = yaml.safe_load((ROOT / "packaging/compose/grafana/datasources.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((ROOT / "packaging/compose/grafana/dashboards.yaml").read_text())["providers"]
    assert ("grafana", "./dashboards/grafana", provider["options"]["path"]) in mounts()
    assert [volume for _, source, volume in mounts() if source == "attuned"] == of("VOLUME")


def test_grafana_is_of_the_version_that_the_dashboards_are_written_for() -> None:
    """As pyproject.toml pins the kit that writes them."""
    assert Path(SDK).exists()
    [pinned] = re.findall(r"grafana-foundation-sdk==\d+!([\d.]+)", (ROOT / "pyproject.toml").read_text())
    assert COMPOSE["services"]["grafana"]["image"] == f"grafana/grafana:{pinned}"


def test_promtool_takes_the_configuration(tmp_path: Path) -> None:
    """With the rules beside it and a token where it is looked for."""
    folder = ROOT / "packaging" / "compose"
    (tmp_path / "token").write_text("word")
    text = (folder / "prometheus.yml").read_text().replace("/run/secrets/http_token", str(tmp_path / "token"))
    (tmp_path / "prometheus.yml").write_text(text)
    for rule in ("recording.yml", "alerts.yml"):
        shutil.copy(ROOT / "dashboards" / "prometheus" / rule, tmp_path)
    done = subprocess.run(
        [program("promtool"), "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# The unit


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with programs and documents that are on this machine."""
    path = tmp_path / "attuned.service"
    text = UNIT.read_text().replace("/opt/attuned/.venv/bin/attuned", "/bin/true").replace("/opt/attuned", str(ROOT))
    path.write_text(text)
    return path


def test_systemd_takes_the_unit(unit: Path) -> None:
    """Not a word of complaint."""
    done = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_gives_little_away(unit: Path) -> None:
    """Systemd's own measure of exposure, 0 to 10, is at most 2."""
    judge = [program("systemd-analyze"), "security", "--offline=yes", "--threshold=20", "--no-pager"]
    done = subprocess.run([*judge, unit], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]


def test_the_unit_starts_attuned() -> None:
    """The command is ours, exit code 2 is not tried again, and reload and watchdog are what `daemon.service` expects."""
    keys: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            keys.setdefault(line.partition("=")[0], []).append(line.partition("=")[2])
    path, command, *_ = shlex.split(keys["ExecStart"][0])
    assert Path(path).name in PROJECT["scripts"]
    assert command == "run"
    assert keys["Type"] == ["notify"]
    assert keys["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert keys["RestartPreventExitStatus"] == ["2"]
    assert int(keys["WatchdogSec"][0]) >= 30
    assert int(keys["TimeoutStopSec"][0]) > 5
