"""People come and go: what a session, its sinks and its connections know of those who left long ago."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pytest
from builders import p
from prometheus_client import CollectorRegistry
from remembering import remembered
from replay import LOOPBACK, Clip, Publisher, flat, until
from replay import run as run_webrtc
from videos import run

from daemon.consent import ConsentGate
from daemon.inference import FaceReader
from daemon.page.live import EVENTS_MAX, LivePage
from daemon.seats import RoomSeating
from daemon.session import Session, SessionInfo
from daemon.sinks import mqtt
from daemon.sinks.history import History
from daemon.sinks.metrics import Metrics
from daemon.sinks.mqtt import MqttSink
from daemon.sinks.outbox import Outbox
from daemon.sources.source import Moment, SourceState
from daemon.sources.webrtc import IceSettings, Peer
from pipeline.call import CallSettings
from pipeline.types import U8, Crop, Expressions, Faces, Frame
from pipeline.wire import Stamp, Topics, Versions

STAY = ("p-0000000a", "p-0000000b", "p-0000000c")
PASSERS = tuple(f"p-000000{n:02d}" for n in range(30))
EACH_S, AFTER_S = 2, 260
PICTURE = np.zeros((90, 120, 3), np.uint8)
INFO = SessionInfo(Stamp("s", "b"), "seed", "research", Versions("pixel-0", "landmark-0"), 2)


class Door:
    """A room in which three stay and thirty are there one after the other, and which they have left four minutes before the end."""

    is_room, problem, farewell, n_undecoded = True, None, "over", 0
    end_s = due_s = float(len(PASSERS) * EACH_S + AFTER_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def now_s(self) -> float:
        """The end."""
        return self.end_s

    async def items(self) -> AsyncGenerator[Moment | SourceState, None]:
        """One picture of everybody a second."""
        for second in range(int(self.end_s)):
            there = (*STAY, *PASSERS[second // EACH_S : second // EACH_S + 1])
            yield Moment(float(second), tuple(Frame(who, float(second), PICTURE) for who in there), there)


class Tracker:
    """Finds a round face."""

    n_open = 0

    def __init__(self) -> None:
        Tracker.n_open += 1

    def find(self, image: U8) -> Faces:
        """In the middle."""
        angle = np.linspace(0, 6.28, 468)
        mesh = np.stack([60 + 20 * np.cos(angle), 45 + 20 * np.sin(angle), 0 * angle], axis=1).astype(np.float32)
        return Faces(np.array([[40, 25, 80, 65]], np.float32), np.ones(1, np.float32), mesh[None])

    def close(self) -> None:
        """Gone."""
        Tracker.n_open -= 1


class Changing:
    """Says happiness and sadness in turn."""

    version = "changing-1.0"
    crop = Crop()

    def __init__(self) -> None:
        self._n = 0

    def predict(self, faces: np.ndarray) -> Expressions:
        """The same for each."""
        self._n += 1
        row = p(happiness=0.9) if self._n // 4 % 2 else p(sadness=0.9)
        n = len(faces)
        return Expressions(np.zeros((n, 7), np.float32), *(np.stack([row] * n),) * 2, np.zeros((n, 1), np.float32))


def test_a_session_forgets_who_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty were there: pipeline, gate, trackers and metrics know only who is there, sinks as many as their bounds say."""
    monkeypatch.setattr(mqtt, "LEFT_MAX", 5)
    registry = CollectorRegistry()
    asked: list[str] = []

    async def ignore(session: str, participant: str, granted: bool) -> None:  # noqa: FBT001
        asked.append(participant)

    async def main() -> dict[str, set[str]]:
        reader = FaceReader(
            open_tracker=Tracker, pixel=Changing(), landmark=Changing(), workers=1, observe=lambda stage, seconds: None
        )
        metrics, page = Metrics(registry=registry, version="1", models={}), LivePage()
        async with (
            Outbox(tmp_path / "o.sqlite", max_messages=10_000) as outbox,
            History(tmp_path / "h.sqlite") as history,
            reader,
            Door() as source,
        ):
            sink = MqttSink(
                host="127.0.0.1", port=1, topics=Topics("lab"), outbox=outbox, metrics=metrics, on_consent=ignore
            )
            gate = ConsentGate("required", dict.fromkeys((*STAY, *PASSERS), True))
            session = Session(
                info=INFO,
                source=source,
                seating=RoomSeating(),
                reader=reader,
                sinks=(sink, metrics, page, history),
                observe=metrics,
                consent=gate,
                call=CallSettings(rate_hz=1.0),
                paced=False,
            )
            known: dict[str, set[str]] = {}

            def look(time_s: float) -> None:
                # In the last second, as the end of a session takes everything away.
                if time_s == source.end_s - 1:
                    parts = {"call": session._call, "reader": reader, "gate": gate, "metrics": metrics, "page": page}
                    parts |= {"numbers": sink._seq, "heads": sink._heads, "topics": sink._retained.topics}
                    known.update({name: remembered(part) for name, part in parts.items()})
                    known["registry"] = remembered([list(family.samples) for family in registry.collect()])
                    known["history"] = remembered([history._rows, history._seqs])
                    known["trackers"] = set(map(str, range(Tracker.n_open)))

            await session.run(look)
            return known

    known = run(main())
    stay = set(STAY)
    assert known["call"] == known["reader"] == known["gate"] == stay
    assert known["metrics"] == known["registry"] == set()
    assert known["numbers"] == known["heads"] == known["topics"] == stay | set(PASSERS[-5:])
    assert known["history"] <= stay
    assert len(known["page"] - stay) <= EVENTS_MAX
    # Whoever comes gets the tracker of who has just left.
    assert len(known["trackers"]) == len(STAY) + 1
    assert asked == []


def test_nothing_of_a_peer_is_left() -> None:
    """After one full collection there is no more of aiortc, aioice, PyAV and TLS than before ten peers came and went."""
    ours = ("aiortc", "aioice", "av.", "OpenSSL", "pylibsrtp", "daemon.sources")

    def alive() -> Counter[str]:
        gc.collect()
        names = (f"{type(it).__module__}.{type(it).__qualname__}" for it in gc.get_objects())
        return Counter(name for name in names if name.startswith(ours))

    async def come_and_go(clip: Clip) -> None:
        seen: list[str] = []
        ice = IceSettings(addresses=LOOPBACK)
        async with Publisher(clip) as publisher, Peer(ice, lambda mid, _: seen.append(mid), lambda _: None) as peer:
            await publisher.accept(await peer.answer(await publisher.offer()))
            await until(lambda: len(seen) >= 2)

    async def main() -> tuple[Counter[str], Counter[str], Counter[str]]:
        clip = flat([40, 200] * 5)
        # Tests before this one may have left some, for example in what is kept of a failure.
        first = alive()
        for _ in range(2):
            await come_and_go(clip)
        await asyncio.sleep(0.1)
        before = alive()
        for _ in range(10):
            await come_and_go(clip)
        await asyncio.sleep(0.1)
        return first, before, alive()

    first, before, after = run_webrtc(main())
    assert after - before == Counter()
    assert not any("RTCPeerConnection" in name for name in after - first)
