"""What Prometheus sees: base units, bounded labels, never a person; `attuned_` and the contract's names.

The registry is given, so that two of these never meet.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from daemon.session import SessionInfo
from daemon.sources.source import State
from pipeline.emotions import EMOTIONS
from pipeline.types import CallSecond, Event, GroupType

DROP_REASONS = ("slow", "late", "undecoded", "out_of_order", "small_face")
PUBLISH_RESULTS = ("sent", "dropped", "discarded")
PERSONAL_RESULTS = ("promoted", "rejected", "rolled_back", "failed")
"""`failed`: the training itself broke; `rejected`: the gate did not let the head through."""
STAGES = ("gallery", "faces", "pixel", "landmark")
COMPONENTS = ("mqtt", "rtsp", "whep", "whip", "janus")
GROUP_MINIMUM = 3
"""Members from which on a group's emotion is a metric: two would tell each one the other's."""
STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
STATES: tuple[State, ...] = get_args(State)
GROUP_TYPES: tuple[GroupType, ...] = get_args(GroupType)
LAGS_MAX = 60
"""Seconds whose lateness tells whether the machine is busy."""
LAG_BUCKETS = (0.1, 0.2, 0.205, 0.21, 0.22, 0.235, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
"""Fine just above the grace of 0.2 s, where a machine that keeps up is told from one that nearly does not."""


class Metrics:
    """All metrics of a process, zero from the start; an `Observer` and a `Sink` of sessions.

    Args:
        registry: Where they are registered.
        version: Of attuned.
        models: File hash by `name version` of each model.
        group_emotion: Whether groups of three and more are shown by session.
    """

    def __init__(
        self, *, registry: CollectorRegistry, version: str, models: Mapping[str, str], group_emotion: bool = True
    ) -> None:
        self._group_on = group_emotion
        self._sizes: dict[str, int] = {}
        self._lags: deque[float] = deque(maxlen=LAGS_MAX)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"attuned_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"attuned_{name}", text, labels, registry=registry)

        self._received = counter("frames_received", "Frames taken from sources.")
        self._dropped = counter("frames_dropped", "Frames or readings that were not used, by reason.", "reason")
        self._faces = counter("faces_analysed", "Faces read by both models.")
        self._stage = Histogram(
            "attuned_stage_duration_seconds",
            "Time a stage took for one frame, in seconds.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self._lag = Histogram(
            "attuned_second_end_to_publish_seconds",
            "Time from the end of a second to its readings being handed to the sinks, in seconds.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        self._sessions = gauge(
            "sessions", "Sessions by state; those that are over as long as they are told of.", "state"
        )
        self._participants = gauge("participants", "Participants in all running sessions.")
        self._published = counter("mqtt_published", "MQTT messages by result.", "result")
        self._outbox = gauge("mqtt_outbox_messages", "Events that wait for the broker.")
        self._damaged = counter("outbox_damaged", "Outbox files that were damaged and moved aside.")
        self._reconnects = counter("reconnects", "Connections lost and sought again, by component.", "component")
        self._personal = counter("personal_models", "Personal models by what became of them.", "result")
        self._last_frame = gauge(
            "last_frame_timestamp_seconds", "When the newest frame was taken, in seconds since the epoch."
        )
        gauge("tasks", "Tasks of the event loop; what grows there leaks.").set_function(_n_tasks)
        self._group_emotion = gauge("group_emotion_ratio", "Group emotion, 0 to 1.", "session", "emotion")
        self._group_synchrony = gauge(
            "group_synchrony_ratio", "How much members move at the same times, 0 to 1; absent while unknown.", "session"
        )
        self._group_type = gauge(
            "group_type", "1 for the type the group is of, 0 for the others; absent while unknown.", "session", "type"
        )
        gauge("build_info", "Version of attuned; always 1.", "version").labels(version).set(1)
        info = gauge("model_info", "Models in use; always 1.", "model", "sha256")
        for model, sha256 in models.items():
            info.labels(model, sha256).set(1)
        for family, values in (
            (self._dropped, DROP_REASONS),
            (self._stage, STAGES),
            (self._published, PUBLISH_RESULTS),
            (self._reconnects, COMPONENTS),
            (self._personal, PERSONAL_RESULTS),
            (self._sessions, STATES),
        ):
            for value in values:
                family.labels(value)

    def count_sessions(self, count: Callable[[State], int]) -> None:
        """Where the number of sessions in a state comes from, whenever somebody asks."""
        for state in STATES:
            self._sessions.labels(state).set_function(partial(count, state))

    def frame_received(self, time_s: float) -> None:
        """A frame came from the source, taken at that UTC time in seconds."""
        self._received.inc()
        self._last_frame.set(time_s)

    def frames_dropped(self, reason: str, n: int = 1) -> None:
        """Frames or readings were not used."""
        self._dropped.labels(reason).inc(n)

    def faces_analysed(self, n: int) -> None:
        """Faces were read."""
        self._faces.inc(n)

    def stage(self, name: str, seconds: float) -> None:
        """A stage took that long for a frame."""
        self._stage.labels(name).observe(seconds)

    def mqtt_published(self, result: str, n: int = 1) -> None:
        """MQTT messages were sent, dropped or discarded."""
        self._published.labels(result).inc(n)

    def second_published(self, lag_s: float) -> None:
        """A second was handed to the sinks that long after its end."""
        self._lag.observe(lag_s)
        self._lags.append(lag_s)

    def lag_p95_s(self) -> float | None:
        """95th percentile of how late the latest seconds were; None before the first."""
        lags = sorted(self._lags)
        return lags[math.ceil(0.95 * len(lags)) - 1] if lags else None

    def outbox(self, n: int) -> None:
        """So many events wait."""
        self._outbox.set(n)

    def outbox_damaged(self) -> None:
        """An outbox file was damaged, and moved aside."""
        self._damaged.inc()

    def reconnect(self, component: str) -> None:
        """A connection was lost."""
        self._reconnects.labels(component).inc()

    def personal_model(self, result: str) -> None:
        """A training ended, or a head was taken back: one of `PERSONAL_RESULTS`."""
        self._personal.labels(result).inc()

    async def second(self, info: SessionInfo, second: CallSecond) -> None:
        """Participants of the session, and its group where it is large enough."""
        self._sizes[info.id] = len(second.group.members)
        self._participants.set(sum(self._sizes.values()))
        if not self._group_on or second.group.probabilities is None or second.group.n_summed < GROUP_MINIMUM:
            self._remove(info.id)
            return
        for emotion, ratio in zip(EMOTIONS, second.group.probabilities.tolist(), strict=True):
            self._group_emotion.labels(info.id, emotion).set(ratio)
        self._remove_engagement(info.id)
        engagement = second.group.engagement
        if engagement.synchrony is not None:
            self._group_synchrony.labels(info.id).set(engagement.synchrony)
        if engagement.type is not None:
            for kind in GROUP_TYPES:
                self._group_type.labels(info.id, kind).set(kind == engagement.type)

    async def events(self, info: SessionInfo, events: Sequence[Event]) -> None:
        """Events are not metrics."""

    async def status(self, info: SessionInfo, state: State, time_s: float, reason: str | None) -> None:  # noqa: ARG002
        """What belongs to a session goes with it."""
        if state in {"ended", "failed"}:
            self._sizes.pop(info.id, None)
            self._participants.set(sum(self._sizes.values()))
            self._remove(info.id)

    def _remove(self, session: str) -> None:
        """A session's group says nothing now."""
        for emotion in EMOTIONS:
            self._group_emotion.remove_by_labels({"session": session, "emotion": emotion})
        self._remove_engagement(session)

    def _remove_engagement(self, session: str) -> None:
        """What is not known is no series."""
        self._group_synchrony.remove_by_labels({"session": session})
        for kind in GROUP_TYPES:
            self._group_type.remove_by_labels({"session": session, "type": kind})


def _n_tasks() -> float:
    """Tasks of the loop that serves metrics; 0 where there is none."""
    try:
        return float(len(asyncio.all_tasks()))
    except RuntimeError:
        return 0.0
