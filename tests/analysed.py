"""Folders as `attuned analyze` leaves them, made up row by row."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from daemon.report.tables import ENGAGEMENT
from daemon.sinks.tables import GROUP_SCHEMA, SECONDS_SCHEMA
from pipeline.emotions import EMOTIONS

HAPPY = (0.02, 0.02, 0.02, 0.8, 0.02, 0.02, 0.1)
NEUTRAL = (0.05, 0.05, 0.05, 0.1, 0.05, 0.05, 0.65)

Row = dict[str, Any]


def reading(
    second: int,
    participant: str,
    probabilities: Sequence[float] = NEUTRAL,
    *,
    abstain: bool = False,
    pixel: Sequence[float] | None = None,
    landmark: Sequence[float] | None = None,
) -> Row:
    """A second in which a face was read; both models say what was given out, where they are not said to differ."""
    top = max(range(len(EMOTIONS)), key=probabilities.__getitem__)
    return {
        "second": second,
        "participant": participant,
        "n_frames": 5,
        "coverage": 1.0,
        "quality": 0.75,
        **dict(zip(EMOTIONS, probabilities, strict=True)),
        **{f"pixel_{name}": p for name, p in zip(EMOTIONS, pixel or probabilities, strict=True)},
        **{f"landmark_{name}": p for name, p in zip(EMOTIONS, landmark or probabilities, strict=True)},
        "weight_pixel": 0.4,
        "weight_landmark": 0.6,
        "top": EMOTIONS[top],
        "confidence": probabilities[top],
        "abstain": abstain,
    }


def absence(second: int, participant: str) -> Row:
    """A second in which nothing was read."""
    weights = {"weight_pixel": 0.5, "weight_landmark": 0.5}
    return {"second": second, "participant": participant, "n_frames": 0, "coverage": 0.0, "abstain": True} | weights


def group_second(second: int, members: Sequence[str], probabilities: Sequence[float] = NEUTRAL, **more: object) -> Row:
    """A second of a group."""
    named = {f"p_{name}": p for name, p in zip(EMOTIONS, probabilities, strict=True)}
    deviation = [{"participant": member, "value": 0.1} for member in members]
    lists = {"dominant": ["neutral"], "members": list(members), "engaged": list(members), "excluded": []}
    return {"second": second, "deviation": deviation} | named | lists | more


def event(kind: str, second: int, participants: Sequence[str] = (), **data: object) -> Row:
    """A line of `events.jsonl`."""
    envelope = {"schema": "attuned/event/1", "ts": "", "session": "s", "boot": "b", "seq": 0}
    return envelope | {"kind": kind, "second": second, "participants": list(participants)} | data


def write_folder(
    folder: Path,
    seconds: Sequence[Row],
    group: Sequence[Row] = (),
    events: Iterable[Row] = (),
    tiles: Iterable[Row] = (),
    **summary: object,
) -> Path:
    """A folder as `attuned analyze` leaves it."""
    folder.mkdir(exist_ok=True)
    people = list(dict.fromkeys(row["participant"] for row in seconds))
    told: dict[str, object] = {
        "schema": "attuned/summary/1",
        "version": "0.1.0",
        "purpose": "research",
        "recording": {"name": "call.mp4", "width": 1280, "height": 720, "fps": 25.0, "codec": "h264"},
        "participants": people,
        "models": {"pixel": {"version": "pixel-1.0", "sha256": "ab"}, "landmark": {"version": "landmark-1.0"}},
        "settings": {"fusion": {"gain": 0.05}},
        "partial": False,
        "reason": None,
        "warnings": [],
    }
    pl.DataFrame(list(seconds), schema=SECONDS_SCHEMA).write_parquet(folder / "seconds.parquet")
    pl.DataFrame(list(group), schema=GROUP_SCHEMA | {"engagement": ENGAGEMENT}).write_parquet(folder / "group.parquet")
    for name, rows in (("events", events), ("tiles", tiles)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "summary.json").write_text(json.dumps(told | summary))
    return folder


def write_call(folder: Path, n: int = 2, n_seconds: int = 20, **summary: object) -> Path:
    """A call of n people: absent in seconds 5 to 7, abstaining in 10 and 11, happy from 12 on."""
    people = [f"p-{i:08x}" for i in range(n)]
    seconds = [
        absence(second, person)
        if 5 <= second < 8
        else reading(second, person, HAPPY if second >= 12 else NEUTRAL, abstain=second in {10, 11})
        for second in range(n_seconds)
        for person in people
    ]
    group = [group_second(second, people, HAPPY if second >= 12 else NEUTRAL) for second in range(n_seconds) if n > 1]
    change = {"from": "neutral", "to": "happiness", "distance": 0.7}
    events = [
        event("session_started", 0, purpose="research"),
        event("change", 12, people, scope="group", **change),
        event("change", 15, people[:1], scope="individual", **change | {"distance": 0.31}),
    ]
    tiles = [{"second": 0, "tiles": [{"participant": p, "xyxy": [0, 0, 640, 360]} for p in people]}]
    return write_folder(folder, seconds, group, events, tiles, **summary)
