"""A real Prometheus scrapes a real run: metrics, rules, and a figure for every panel of the dashboards."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
RULES = ROOT / "dashboards" / "prometheus"
SHEETS = sorted((ROOT / "dashboards" / "grafana").glob("*.json"))


def program(name: str) -> str:
    """A program of Debian's; the test skips where it is absent, except in CI, where it fails."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is needed in CI; make test installs it where it may")
        pytest.skip(f"{name} is not installed; apt-get install prometheus ffmpeg")
    return found


def promtool(*arguments: object, stdin: str | None = None) -> None:
    """Runs promtool, which must find nothing wrong."""
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def free_ports(n: int) -> list[int]:
    """Ports of loopback that nobody listens on just now, all different."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def get(url: str) -> str:
    """The body of a page."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


@dataclass(frozen=True)
class Scraped:
    """A Prometheus that has scraped a run, and the last page it could read before the end."""

    url: str
    began_s: float
    ended_s: float
    page: str

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series of a query over the whole run."""
        values = {"query": query, "start": self.began_s, "end": self.ended_s, "step": 1}
        answer = json.loads(get(f"{self.url}/api/v1/query_range?{urllib.parse.urlencode(values)}"))
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory, demo_call) -> Iterator[Scraped]:  # noqa: ANN001 (of conftest)
    """Forty-five seconds of four people, played in real time; engagement is judged after a few seconds already."""
    prometheus = program("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    again = [
        program("ffmpeg"),
        "-loglevel",
        "error",
        "-stream_loop",
        "1",
        "-i",
        demo_call.path,
        "-t",
        "45",
        "-c",
        "copy",
    ]
    subprocess.run([*again, folder / "call.mp4"], check=True)
    port, listen, broker = free_ports(3)
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "recording.yml"), str(RULES / "alerts.yml")],
        "scrape_configs": [{"job_name": "attuned", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
    }
    # Rules every second, for a run that is shorter than their own interval.
    recording = (RULES / "recording.yml").read_text().replace("interval: 15s", "interval: 1s")
    (folder / "recording.yml").write_text(recording)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATTUNED_", "XDG_"))}
    variables = {
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "ATTUNED_HTTP__PORT": str(port),
        "ATTUNED_MQTT__PORT": str(broker),
        "ATTUNED_ENGAGEMENT__TYPE_WINDOW_S": "30",
        "ATTUNED_ENGAGEMENT__TYPE_RECENT_S": "30",
        "ATTUNED_ENGAGEMENT__SYNCHRONY__WINDOW_S": "60",
        "ATTUNED_ENGAGEMENT__SYNCHRONY__LEAST_S": "10",
        "ATTUNED_ENGAGEMENT__SYNCHRONY__LEAST_SHIFTS": "1",
    }
    server = subprocess.Popen(
        [
            prometheus,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{listen}",
        ],
        stderr=subprocess.DEVNULL,
    )
    began_s, page = time.time(), ""
    try:
        with (folder / "attuned.log").open("w") as log:
            attuned = subprocess.Popen(
                [sys.executable, "-m", "daemon", "join", str(folder / "call.mp4"), "--purpose", "demo"],
                env=kept | variables,
                cwd=folder,
                stdout=log,
                stderr=log,
            )
        try:
            deadline = time.monotonic() + 150
            while attuned.poll() is None and time.monotonic() < deadline:
                with suppress(urllib.error.URLError, ConnectionError):  # not listening yet, or no longer
                    page = get(f"http://127.0.0.1:{port}/metrics")
                time.sleep(1)
            assert attuned.poll() == 0, (folder / "attuned.log").read_text()
        finally:
            attuned.kill()
            attuned.wait()
        yield Scraped(f"http://127.0.0.1:{listen}", began_s, time.time(), page)
    finally:
        server.kill()
        server.wait()


def test_promtool_finds_the_metrics_of_a_run_clean(scraped: Scraped) -> None:
    """Names, help texts and types, as they were while the call was on."""
    assert "attuned_group_emotion_ratio{" in scraped.page
    promtool("check", "metrics", stdin=scraped.page)


def queries(path: Path) -> Iterator[tuple[str, str]]:
    """Title and query of every panel of a dashboard."""
    for panel in json.loads(path.read_text())["panels"]:
        if panel["type"] != "row":
            assert panel["targets"], panel["title"]
            assert panel["description"], panel["title"]
            for target in panel["targets"]:
                assert target["datasource"]["uid"] == "${datasource}"
                yield panel["title"], target["expr"]


PANELS = [(path.stem, title, query) for path in SHEETS for title, query in queries(path)]


def filled(query: str) -> str:
    """A query as Grafana would send it, with everything chosen."""
    for name, value in {"$__rate_interval": "10s", "$instance": ".*", "$session": ".*"}.items():
        query = query.replace(name, value)
    assert "$" not in query
    return query


@pytest.mark.parametrize(("sheet", "title", "query"), PANELS, ids=[f"{s}: {t}: {q}" for s, t, q in PANELS])
def test_every_panel_has_data(scraped: Scraped, sheet: str, title: str, query: str) -> None:
    """A number at some time of the run, for every query of every dashboard."""
    series = scraped.ask(filled(query))
    numbers = [value for one in series for _, value in one["values"] if value not in {"NaN", "+Inf", "-Inf"}]
    assert numbers, f"{sheet}: {title}: {query}"


def test_series_mean_what_the_call_showed(scraped: Scraped) -> None:
    """Four people, seven emotions that sum to one, one group type at a time; no person is in any label."""
    assert max(float(v) for one in scraped.ask("attuned_participants") for _, v in one["values"]) == 4
    sums = [float(v) for one in scraped.ask("sum(attuned_group_emotion_ratio)") for _, v in one["values"]]
    assert sums == pytest.approx([1.0] * len(sums), abs=1e-6)
    types = [float(v) for one in scraped.ask("sum(attuned_group_type)") for _, v in one["values"]]
    assert types == [1.0] * len(types)
    assert re.search(r"p-[0-9a-f]{8}", scraped.page) is None


def test_no_alert_fires_in_a_run_in_which_all_is_well(scraped: Scraped) -> None:
    """Nothing but that nobody answered before attuned was up, which has not lasted a minute."""
    assert scraped.ask('ALERTS{alertstate="firing"}') == []


def test_rules_are_right_and_each_alert_fires_and_ends() -> None:
    """Promtool checks the files and runs alerts_test.yml, which has a case for every alert."""
    promtool("check", "rules", RULES / "recording.yml", RULES / "alerts.yml")
    promtool("test", "rules", RULES / "alerts_test.yml")
    cases = yaml.safe_load((RULES / "alerts_test.yml").read_text())["tests"]
    seen: dict[str, list[bool]] = {}
    for case in cases:
        for check in case["alert_rule_test"]:
            seen.setdefault(check["alertname"], []).append(bool(check["exp_alerts"]))
    assert set(seen) == {rule["alert"] for rule in alerts()}
    for name, fires in seen.items():
        assert (True in fires, fires[-1]) == (True, False), f"{name} does not fire, or does not end, in its test"


def alerts() -> list[dict[str, Any]]:
    """The alerting rules."""
    groups = yaml.safe_load((RULES / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_alert_has_its_chapter_in_the_runbooks() -> None:
    """The link is to a heading that is there."""
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE)
    anchors = {f"docs/runbooks.md#{heading.lower().replace(' ', '-')}" for heading in headings}
    assert {rule["annotations"]["runbook_url"] for rule in alerts()} <= anchors


def test_dashboards_are_what_the_code_writes(tmp_path: Path) -> None:
    """What is committed is current."""
    subprocess.run([sys.executable, "-m", "dashboards.build", tmp_path], cwd=ROOT, check=True, timeout=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in SHEETS]
    for path in SHEETS:
        assert (tmp_path / path.name).read_text() == path.read_text(), f"{path.name}: run python -m dashboards.build"
