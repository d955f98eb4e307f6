"""The system's clock jumps, both ways, for one daemon alone: libfaketime stands between it and the clock."""

import os
import time
from pathlib import Path

from chaos_faults import Outcome
from chaos_rig import Rig

CLOCK_PROMISE = "every second once, one a second; events that wait are not discarded as old; none lost"
LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
JUMPS_S = (3600, -3600, 9 * 86400, -9 * 86400)
"""From the true time; nine days are more than events wait."""


def clock_jumps(folder: Path, url: str, *, each_s: float = 8.0) -> Outcome:
    """Moves the daemon's clock while the broker is away, and back."""
    assert LIBRARY.exists(), "libfaketime is needed; apt-get install faketime"
    folder.mkdir()
    offset = folder / "offset"
    offset.write_text("+0")
    faked = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }
    with Rig(folder, url, variables=faked) as rig:
        rig.until_event(20)
        began_s = time.time()
        rig.broker.stop()
        for jump_s in JUMPS_S:
            part = folder / "offset.part"
            part.write_text(f"{jump_s:+d}")
            os.replace(part, offset)  # noqa: PTH105 (one file takes the other's place)
            time.sleep(each_s / 2)
            rig.broker.start()
            rig.until_read("call", 30)
            time.sleep(each_s / 2)
            rig.broker.stop()
        rig.broker.start()
        took_s = rig.until_event(30)
        problems = rig.problems()
        ended_s = time.time()
        discarded = [
            e for known in rig.heard.events.values() for e in known.values() if e["kind"] == "outbox_discarded"
        ]
        seconds = {reading["second"] for _, reading in rig.heard.readings}
        wild = [second for second in seconds if not began_s - 60 < second < ended_s + 1]
    problems += [f"{len(discarded)} times discarded"] * bool(discarded) + [
        f"seconds that never were: {wild[:3]}"
    ] * bool(wild)
    found = "; ".join([f"{len(JUMPS_S)} jumps, {len(seconds)} seconds in {ended_s - began_s:.0f} s", *problems])
    return Outcome(not problems, found, round(took_s, 1))
