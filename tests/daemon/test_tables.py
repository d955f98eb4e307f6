"""The tables of `analyze`, as they are when a call is over."""

from pathlib import Path

import numpy as np
import polars as pl
from builders import face, p
from videos import run

from daemon.session import SessionInfo
from daemon.sinks.tables import TablesSink
from pipeline.call import Call
from pipeline.denoise import denoise
from pipeline.emotions import EMOTIONS
from pipeline.wire import Stamp, Versions

HAPPY, SAD = p(happiness=0.9), p(sadness=0.9)
INFO = SessionInfo(Stamp("s", "b"), "seed", "research", Versions("pixel-1", "landmark-1"), 2)


def tables(folder: Path, *, alone: range = range(0)) -> pl.DataFrame:
    """The group's table of 40 s: `a` twitches in second 20, `b` is out of the call while `a` is alone."""
    sink, call = TablesSink(folder, metadata={}), Call()
    for second in range(40):
        present = ("a",) if second in alone else ("a", "b")
        call.look(float(second), present)
        for who in present:
            call.add(face(who, float(second), SAD if (who, second) == ("a", 20) else HAPPY))
        for closed in call.advance(second + 0.5):
            run(sink.second(INFO, closed))
    for closed in call.finish(40.0)[0]:
        run(sink.second(INFO, closed))
    sink.close()
    return pl.read_parquet(folder / "group.parquet")


def test_the_whole_call_is_denoised_at_its_end(tmp_path: Path) -> None:
    """What was dismissed afterwards is not in the denoised series, and stays in the raw one."""
    group = tables(tmp_path)
    raw = group.select(f"p_{name}" for name in EMOTIONS).to_numpy()
    denoised = group.select(f"denoised_{name}" for name in EMOTIONS).to_numpy()
    assert raw[20].argmax() == EMOTIONS.index("happiness")
    assert raw[20][EMOTIONS.index("sadness")] > 0.4
    np.testing.assert_allclose(denoised, denoise(np.tile(HAPPY, (40, 1))), atol=1e-9)


def test_nobody_is_denoised_where_there_is_no_group(tmp_path: Path) -> None:
    """Seconds of one person alone are null, before and after."""
    group = tables(tmp_path, alone=range(5, 9))
    known = group["denoised_happiness"].is_not_null().to_list()
    assert known == [second not in range(5, 9) for second in range(40)]
    assert (group["p_happiness"].is_not_null() == group["denoised_happiness"].is_not_null()).all()


def test_how_members_move_together_is_a_row_each(tmp_path: Path) -> None:
    """Everybody's engagement with its grounds, sub-groups and their distance."""
    row = tables(tmp_path).row(39, named=True)
    assert [member["participant"] for member in row["engagement"]] == ["a", "b"]
    assert set(row["engagement"][0]) == {"participant", "state", "correlation", "lag_s", "p_value"}
    assert (row["clusters"], row["polarisation"]) == ([], 0.0)
