"""The live page for a while, in a real browser: `.venv/bin/python benchmarks/page.py --minutes 10`.

Nine made-up participants, five updates per second each, over real HTTP on loopback. Prints one JSON object: how soon
the first readings were on the screen (each of ten visits), and what the page's heap was after each minute (garbage
collected), with the slope of the later half and its 95 % interval.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "integration")]

from browser import Tab, browser  # noqa: E402
from scipy.stats import linregress, t  # noqa: E402
from test_page import FIRST_READINGS, Room  # noqa: E402

VISITS = 10


async def main(minutes: int) -> dict[str, Any]:
    """Visits, then stays."""
    room = Room()
    async with room.open(), browser() as tab:
        await asyncio.sleep(1.5)
        first_ms = []
        for _ in range(VISITS):
            await tab.look_at(room.url)
            await tab.until(f"{FIRST_READINGS} !== undefined")
            first_ms.append(round(await tab.ask(f"{FIRST_READINGS}.startTime")))
        began_s, before = time.monotonic(), await heap(tab)
        points = []
        for minute in range(minutes):
            await asyncio.sleep(began_s + 60 * (minute + 1) - time.monotonic())
            points.append(((time.monotonic() - began_s) / 60, await heap(tab)))
            print(f"minute {minute + 1}: {points[-1][1] / 1e6:.2f} MB", file=sys.stderr)
        lost = await tab.ask("document.querySelectorAll('.person').length") != len(room.session.participants)
    later = np.array(points[len(points) // 2 :])
    fit = linregress(later[:, 0], later[:, 1] / 1e3)
    half = float(t.ppf(0.975, len(later) - 2) * fit.stderr)
    return {
        "cores": os.cpu_count(),
        "first_readings_ms": {"median": float(np.median(first_ms)), "least": min(first_ms), "most": max(first_ms)},
        "heap_mb": {"at_start": round(before / 1e6, 2), "each_minute": [round(size / 1e6, 2) for _, size in points]},
        "slope_kb_per_minute": {
            "of_minutes": [round(float(later[0, 0])), round(float(later[-1, 0]))],
            "mean": round(float(fit.slope), 2),
            "ci95": [round(float(fit.slope) - half, 2), round(float(fit.slope) + half, 2)],
        },
        "everybody_there_in_the_end": not lost,
    }


async def heap(tab: Tab) -> float:
    """The page's heap in bytes, without what nobody refers to any more."""
    await tab.tell("HeapProfiler.collectGarbage")
    return float((await tab.tell("Runtime.getHeapUsage"))["usedSize"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=10)
    print(json.dumps(asyncio.run(main(max(4, parser.parse_args().minutes))), indent=2))
