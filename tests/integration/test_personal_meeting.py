"""A meeting of four in which people say what they saw: heads are promoted on the way, and read the rest better."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.emotions import EMOTIONS

pytestmark = pytest.mark.timeout(1200)
TRAIN_UNTIL_S = 33.6
"""`sessions.json`: takes 1 and 2 end there; what follows is another take of every expression."""


def shown(meeting: dict[str, Any], person: str, second: int) -> str:
    """What somebody shows in the middle of a second."""
    segments = meeting["people"][person]["segments"]
    return str(next(s["emotion"] for s in segments if s["t0"] <= second + 0.5 < s["t1"]))


def later_part(folder: Path, people: dict[str, str], meeting: dict[str, Any]) -> dict[str, list[bool]]:
    """Of each person, whether each second after the labels ended was read right."""
    seconds = pl.read_parquet(folder / "seconds.parquet").filter(pl.col("second") > TRAIN_UNTIL_S)
    return {
        person: [
            top == shown(meeting, person, second)
            for second, top in seconds.filter(pl.col("participant") == who).select("second", "top").iter_rows()
        ]
        for who, person in people.items()
    }


def test_heads_are_promoted_in_a_meeting_and_read_the_rest_better(
    attuned,  # noqa: ANN001
    dev_data: Path,
    tmp_path: Path,
) -> None:
    """With the settings as shipped: labels until `train_until`, a promotion for most, and fewer wrong seconds after it.

    Also what is read before the first promotion is the same as without personal heads, to the last byte.
    """
    video = dev_data / "sessions" / "meeting_personal_2x2.mp4"
    meeting = json.loads(video.with_suffix(".json").read_text())
    done = attuned("analyze", video, "--out", "generic", timeout=580)
    assert done.returncode == 0, done.stderr
    participants = json.loads((tmp_path / "generic" / "summary.json").read_text())["participants"]
    people = dict(zip(participants, meeting["people"], strict=True))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("rater", "participant", "second", "label"))
        for who, person in people.items():
            writer.writerows(
                ("r", who, second, shown(meeting, person, second)) for second in range(int(TRAIN_UNTIL_S) + 1)
            )
    done = attuned("analyze", video, "--out", "personal", "--personal", "--labels", "labels.csv", timeout=580)
    assert done.returncode == 0, done.stderr

    events = [json.loads(line) for line in (tmp_path / "personal" / "events.jsonl").read_text().splitlines()]
    promoted = {event["participants"][0] for event in events if event["kind"] == "head_promoted"}
    assert len(promoted) >= 3, [event.get("reasons") for event in events if event["kind"] == "head_rejected"]
    assert not [event for event in events if event["kind"] == "head_rolled_back"]
    for event in events:
        if event["kind"] == "head_promoted":
            assert event["verdict"]["figures"]["log_loss"]["low"] > 0
            assert event["second"] < TRAIN_UNTIL_S + 5

    generic, personal = (later_part(tmp_path / name, people, meeting) for name in ("generic", "personal"))
    right = {name: np.concatenate(list(of.values())) for name, of in (("generic", generic), ("personal", personal))}
    assert right["personal"].mean() > right["generic"].mean() + 0.05
    for who, person in people.items():
        assert np.mean(personal[person]) >= np.mean(generic[person]), (who, person)

    tables = [pl.read_parquet(tmp_path / name / "seconds.parquet") for name in ("generic", "personal")]
    before = [table.filter(pl.col("second") < 30).select("participant", "second", *EMOTIONS) for table in tables]
    assert before[0].equals(before[1])
    heads = tables[1].filter(pl.col("second") > TRAIN_UNTIL_S + 1, pl.col("participant").is_in(list(promoted)))
    assert set(heads["head_pixel"]) <= {"personal-1", "personal-2"}
