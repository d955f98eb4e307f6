"""Kill -9 at random moments: while it starts, reads, publishes, replays and ends."""

import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from chaos_faults import Outcome
from chaos_rig import Rig, impossible, until

KILL_PROMISE = "0 committed events lost, 0 damaged files, numbers gapless"
START_S = 8.0
"""Some lives end up to so long after the process was begun, mostly in its start;"""
LIFE_S = 6.0
"""the others up to so long after the call was live, while events are made."""
EARLY = 0.3
"""So many end early."""
BROKER_OUT = 0.3
"""Of so many lives the broker misses the end, so that the next one replays."""


def killed(folder: Path, url: str, n: int, seed: int) -> Outcome:
    """Kills one daemon n times, and looks at what it published, what was heard, and what lies on its disk."""
    folder.mkdir()
    chance = random.Random(seed)  # noqa: S311 (no secret)
    slowest_s, damaged = 0.0, []
    with Rig(folder, url, seed=seed) as rig:
        for number in range(n):
            if number:
                rig.daemon.start()
            broker_out = chance.random() < BROKER_OUT
            if chance.random() < EARLY:
                time.sleep(chance.uniform(0.1, START_S))
            else:
                rig.begin("call", url, 90)
                rig.until_state("call", {"live"}, 60)
                time.sleep(chance.uniform(0.1, LIFE_S))
            if broker_out:
                rig.broker.stop()
                time.sleep(chance.uniform(0.2, 1.5))
            rig.daemon.end(signal.SIGKILL)
            damaged += [f"{number}: {what}" for what in broken_files(rig.daemon.state)]
            if broker_out:
                rig.broker.start()
        rig.daemon.start()
        began_s = time.monotonic()
        rig.begin("call", url, 90)
        rig.until_read("call", 90)
        slowest_s = time.monotonic() - began_s
        rig.quiet()
        published = rig.daemon.published()
        try:
            until(lambda: not rig.missing(published), 60, "all events are heard")
        except AssertionError:
            damaged.append(f"lost: {rig.missing(published)}")
        log = rig.daemon.log()
        damaged += ["moved aside"] * log.count("moved aside") + ["traceback"] * log.count("Traceback")
        damaged += rig.heard.unlike + impossible([reading for _, reading in rig.heard.readings])
        total = sum(published.values())
    found = f"{n} kills, {total} events committed, all heard, {rig.heard.n_events - total} twice; " + (
        "; ".join(damaged[:5]) or "no file damaged"
    )
    return Outcome(not damaged and total > n, found, round(slowest_s, 1))


def broken_files(state: Path) -> list[str]:
    """Databases that SQLite's own check finds damaged, and half-written secrets and heads."""
    found = []
    for path in sorted(state.rglob("*.sqlite")):
        try:
            with closing(sqlite3.connect(path, timeout=10)) as db:
                (said,) = db.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.Error as error:
            said = str(error)
        if said != "ok":
            found.append(f"{path.name}: {said}")
    secret = state / "secret"
    if secret.exists() and secret.stat().st_size != 32:
        found.append("secret: half written")
    return found
