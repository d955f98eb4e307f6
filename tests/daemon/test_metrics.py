"""What Prometheus sees, and the pages it is seen on."""

import asyncio
import json
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from aiohttp import web
from builders import fused, p
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from videos import run

from daemon.broker import embedded_broker, free_port
from daemon.errors import UnusableInputError
from daemon.http import make_app, serve
from daemon.session import SessionInfo
from daemon.sinks.metrics import STATES, Metrics
from pipeline.group import synthesise
from pipeline.types import CallSecond, GroupEngagement
from pipeline.wire import Stamp, Versions

CONTRACT = [
    "attuned_frames_received",
    "attuned_frames_dropped",
    "attuned_faces_analysed",
    "attuned_stage_duration_seconds",
    "attuned_second_end_to_publish_seconds",
    "attuned_sessions",
    "attuned_participants",
    "attuned_mqtt_published",
    "attuned_mqtt_outbox_messages",
    "attuned_outbox_damaged",
    "attuned_reconnects",
    "attuned_personal_models",
    "attuned_tasks",
    "attuned_last_frame_timestamp_seconds",
    "attuned_build_info",
    "attuned_model_info",
    "attuned_group_emotion_ratio",
    "attuned_group_synchrony_ratio",
    "attuned_group_type",
]
INFO = SessionInfo(Stamp("s", "b"), "seed", "research", Versions("pixel-1", "landmark-1"), 2)


def make(*, group: bool = True) -> tuple[Metrics, CollectorRegistry]:
    """Fresh metrics."""
    registry = CollectorRegistry()
    return Metrics(registry=registry, version="1.2.3", models={"pixel-1": "ab"}, group_emotion=group), registry


UNKNOWN = GroupEngagement()


def second(n: int, engagement: GroupEngagement = UNKNOWN) -> CallSecond:
    """A second with n happy people."""
    readings = tuple(fused(f"p-{i}", 0, p(happiness=1.0)) for i in range(n))
    return CallSecond(0, readings, replace(synthesise(0, readings), engagement=engagement), (), ())


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """One sample."""
    return registry.get_sample_value(name, labels)


def test_every_metric_of_the_contract_is_there_from_the_start() -> None:
    """Names, help texts, zeros for every label that is known beforehand."""
    _, registry = make()
    families = {family.name: family for family in text_string_to_metric_families(generate_latest(registry).decode())}
    assert set(CONTRACT) == {name for name in families if not name.endswith("_created")}
    assert all(family.documentation for family in families.values())
    for reason in ("slow", "late", "undecoded", "out_of_order", "small_face"):
        assert value(registry, "attuned_frames_dropped_total", reason=reason) == 0.0
    for result in ("sent", "dropped", "discarded"):
        assert value(registry, "attuned_mqtt_published_total", result=result) == 0.0
    assert value(registry, "attuned_build_info", version="1.2.3") == 1.0


def test_what_is_observed_is_counted() -> None:
    """Each call moves its own metric."""
    metrics, registry = make()
    metrics.frame_received(1763700001.5)
    metrics.frames_dropped("slow", 3)
    metrics.faces_analysed(4)
    metrics.stage("pixel", 0.002)
    metrics.second_published(0.25)
    metrics.mqtt_published("sent")
    metrics.outbox(7)
    metrics.reconnect("mqtt")
    assert {
        name: value(registry, name)
        for name in (
            "attuned_frames_received_total",
            "attuned_faces_analysed_total",
            "attuned_last_frame_timestamp_seconds",
            "attuned_mqtt_outbox_messages",
            "attuned_second_end_to_publish_seconds_sum",
        )
    } == {
        "attuned_frames_received_total": 1.0,
        "attuned_faces_analysed_total": 4.0,
        "attuned_last_frame_timestamp_seconds": 1763700001.5,
        "attuned_mqtt_outbox_messages": 7.0,
        "attuned_second_end_to_publish_seconds_sum": 0.25,
    }
    assert value(registry, "attuned_frames_dropped_total", reason="slow") == 3.0
    assert value(registry, "attuned_stage_duration_seconds_count", stage="pixel") == 1.0
    assert value(registry, "attuned_reconnects_total", component="mqtt") == 1.0


def test_a_group_is_a_metric_from_three_members_on_and_goes_with_its_session() -> None:
    """Two would tell each one the other's expression; nobody is a label; ended sessions leave nothing."""
    metrics, registry = make()
    happiness = {"session": "s", "emotion": "happiness"}
    run(metrics.second(INFO, second(3)))
    assert value(registry, "attuned_group_emotion_ratio", **happiness) == pytest.approx(1.0)
    assert value(registry, "attuned_participants") == 3.0
    assert b"p-0" not in generate_latest(registry)
    run(metrics.second(INFO, second(2)))
    assert value(registry, "attuned_group_emotion_ratio", **happiness) is None
    run(metrics.second(INFO, second(3)))
    run(metrics.events(INFO, ()))
    run(metrics.status(INFO, "live", 0.0, None))
    assert value(registry, "attuned_group_emotion_ratio", **happiness) is not None
    run(metrics.status(INFO, "ended", 1.0, None))
    assert value(registry, "attuned_group_emotion_ratio", **happiness) is None
    assert value(registry, "attuned_participants") == 0.0


def test_how_a_group_moves_together_is_a_metric_while_it_is_known() -> None:
    """One of the four types is 1; what is no longer known, of too small a group, or of an ended session, is gone."""
    metrics, registry = make()
    known = GroupEngagement(type="synchronous", synchrony=0.5)

    def shown() -> list[float | None]:
        kinds = [value(registry, "attuned_group_type", session="s", type=kind) for kind in ("engaged", "synchronous")]
        return [value(registry, "attuned_group_synchrony_ratio", session="s"), *kinds]

    for fading in (second(3), second(2, known)):
        run(metrics.second(INFO, second(3, known)))
        assert shown() == [0.5, 0.0, 1.0]
        run(metrics.second(INFO, fading))
        assert shown() == [None, None, None]
    run(metrics.second(INFO, second(3, known)))
    run(metrics.status(INFO, "ended", 1.0, None))
    assert shown() == [None, None, None]


def test_group_metrics_can_be_switched_off() -> None:
    """Then no session's emotion is ever shown."""
    metrics, registry = make(group=False)
    run(metrics.second(INFO, second(3)))
    assert value(registry, "attuned_group_emotion_ratio", session="s", emotion="happiness") is None


def fetch(url: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_and_metrics_answer() -> None:
    """Alive at once, ready when nothing is missing, JSON for what is not there."""
    _, registry = make()
    missing = ["mqtt"]
    port = free_port("127.0.0.1", 20000)

    async def main() -> dict[str, tuple[int, str]]:
        pages = {}
        async with serve(make_app(registry, lambda: missing), "127.0.0.1", port):
            for page in ("livez", "readyz", "metrics", "nothing"):
                pages[page] = await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}/{page}")
            missing.clear()
            pages["ready"] = await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}/readyz")
        return pages

    pages = run(main())
    assert tuple(pages[page][0] for page in ("livez", "readyz", "metrics", "nothing", "ready")) == (
        200,
        503,
        200,
        404,
        200,
    )
    assert json.loads(pages["readyz"][1])["missing"] == ["mqtt"]
    assert "attuned_build_info" in pages["metrics"][1]
    assert json.loads(pages["nothing"][1]) == {"error": "GET /nothing: Not Found"}


def test_a_port_that_is_no_port_of_ours_is_told() -> None:
    """An address of another machine cannot be listened on, by the pages and by the broker."""

    async def main() -> None:
        async with serve(web.Application(), "203.0.113.1", 9):
            pass

    with pytest.raises(UnusableInputError, match=r"http\.port 9 on 203\.0\.113\.1 cannot be used"):
        run(main())
    with pytest.raises(UnusableInputError, match=r"mqtt\.host 203\.0\.113\.1"):
        free_port("203.0.113.1", 1883)


def test_the_embedded_broker_takes_the_next_free_port() -> None:
    """Two at once, asked for the same port, listen on different ones."""
    asked = free_port("127.0.0.1", 21000)

    async def main() -> tuple[int, int]:
        async with embedded_broker("127.0.0.1", asked) as one, embedded_broker("127.0.0.1", asked) as other:
            return one, other

    one, other = run(main())
    assert one == asked < other


def test_personal_heads_are_counted() -> None:
    """By what became of them."""
    metrics, registry = make()
    metrics.personal_model("promoted")
    assert value(registry, "attuned_personal_models_total", result="promoted") == 1.0
    assert value(registry, "attuned_personal_models_total", result="rolled_back") == 0.0


def test_how_late_the_latest_seconds_were() -> None:
    """Of 0.01 to 1.00 s the last sixty are 0.41 to 1.00; 95 % of these are at most 0.97."""
    metrics, _ = make()
    assert metrics.lag_p95_s() is None
    for n in range(1, 101):
        metrics.second_published(n / 100)
    assert metrics.lag_p95_s() == 0.97


def test_sessions_are_counted_by_state_when_somebody_asks() -> None:
    """Every state from the start, at zero; afterwards what the node says just then."""
    metrics, registry = make()
    assert [value(registry, "attuned_sessions", state=state) for state in STATES] == [0.0] * len(STATES)
    states: list[str] = []
    metrics.count_sessions(states.count)
    states += ["live", "live", "reconnecting"]
    assert value(registry, "attuned_sessions", state="live") == 2.0
    states.remove("live")
    found = {state: value(registry, "attuned_sessions", state=state) for state in STATES}
    assert found == dict.fromkeys(STATES, 0.0) | {"live": 1.0, "reconnecting": 1.0}
