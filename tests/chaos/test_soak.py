"""The judge of the soak: what grows is seen, what stands still is not called growth."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    """`benchmarks/soak.py`, which is no package's."""
    path = Path(__file__).parents[2] / "benchmarks" / "soak.py"
    spec = importlib.util.spec_from_file_location("soak", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["soak"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TIME = np.arange(0, 1800, 5.0)


def samples(soak: ModuleType, *, grows: float = 0.0, files: float = 0.0) -> object:
    """Half an hour of 700 MiB that go up and down by 1 %, with a growth per hour on top, in MiB."""
    rng = np.random.default_rng(3)
    memory = 1024 * (700 + rng.normal(0, 2, TIME.size) + grows * TIME / 3600)
    flat = np.full(TIME.size, 40.0)
    return soak.Samples(TIME, memory, flat + files * TIME / 3600, flat, flat)


LAGS = [(float(t), 0.3 + 0.01 * float(t % 7)) for t in TIME]


def test_what_stands_still_passes(soak: ModuleType) -> None:
    """Noise alone is no slope."""
    told = soak.judge(samples(soak), LAGS, 0.0)
    assert told["holds"], told["promises"]
    assert json.loads(json.dumps(told)) == told
    assert abs(told["rss_mib"]["growth"]) < 0.01


@pytest.mark.parametrize(
    ("change", "broken"),
    [({"grows": 30.0}, {"memory does not rise (95 % interval of the slope)", "memory grows by less than 1 %"}),
     ({"files": 20.0}, {"files do not rise"})],
)  # fmt: skip
def test_what_grows_fails(soak: ModuleType, change: dict[str, float], broken: set[str]) -> None:
    """15 MiB of 700, or ten files, in half an hour."""
    told = soak.judge(samples(soak, **change), LAGS, 0.0)
    assert not told["holds"]
    assert {name for name, holds in told["promises"].items() if not holds} == broken


def test_a_clock_that_drifts_fails(soak: ModuleType) -> None:
    """Half a second in half an hour, whichever way."""
    for sign in (1, -1):
        told = soak.judge(samples(soak), [(t, 1 + sign * 0.5 * t / 1800) for t, _ in LAGS], 0.0)
        assert not told["promises"]["media time drifts from wall time by at most 50 ms"]
        assert told["drift_ms"] == pytest.approx(sign * 500 * (1740 / 1800), rel=0.05)


def test_a_line_through_three_points(soak: ModuleType) -> None:
    """1, 2, 3 at 0, 1, 2 hours: one an hour, without any doubt; two over the mean of two is the growth."""
    line = soak.trend([0, 3600, 7200], [1, 2, 3])
    assert (line.slope, line.low, line.high) == pytest.approx((1, 1, 1))
    assert line.growth == pytest.approx(1)
    assert line.rises
    with pytest.raises(ValueError, match="three blocks"):
        soak.trend([0, 1], [1, 2])
