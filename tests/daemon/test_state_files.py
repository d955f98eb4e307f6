"""Backup, restoring and migration of the state folder: real databases, a writer beside it, crashes at every step."""

import io
import json
import os
import re
import sqlite3
import stat
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner
from videos import run

from daemon.cli import app
from daemon.errors import FailedError, UnusableInputError
from daemon.secret import node_secret
from daemon.sinks.history import open_history
from daemon.sinks.outbox import Outbox
from daemon.state import locked
from daemon.state_files import MANIFEST, RESTORED, VERSIONS, back_up, check_state, finish_restoring, restore
from models.errors import ModelError
from models.personal.basis import Basis
from models.personal.buffer import Buffer, Features, Label
from models.personal.people import HEADS, People
from models.personal.samples import Origin
from models.personal.store import Store

BASIS = Basis("a" * 64, "b" * 64, 8, 8)
ANNA, BOB = "p-0000000a", "p-0000000b"
TOPIC = "attuned/local/session/s/event"


def payload(seq: int) -> bytes:
    """An event."""
    return json.dumps({"seq": seq}).encode()


def put(folder: Path, n: int) -> None:
    """Events in the outbox."""

    async def main() -> None:
        async with Outbox(folder / "outbox.sqlite", max_messages=100_000) as outbox:
            await outbox.put(TOPIC, *[payload] * n)

    run(main())


def waiting(folder: Path) -> list[int]:
    """Sequence numbers in the outbox, as the daemon reads them."""

    async def main() -> list[int]:
        async with Outbox(folder / "outbox.sqlite", max_messages=100_000) as outbox:
            return [message.seq or 0 for message in await outbox.oldest(100_000)]

    return run(main())


def learn(folder: Path, who: str, n: int) -> None:
    """Samples of a person, and a head that serves."""
    home = People(folder / "personal").folder(who)
    with Buffer(home, basis=BASIS) as buffer:
        for i in range(n):
            values = np.full(8, i, np.float32)
            buffer.add(float(i), Features(values, values, None, 0.5), Label.of("fear", Origin.CORRECTION))
    (home / "candidate").write_bytes(who.encode())
    digest = sha256(who.encode()).hexdigest()
    told: dict[str, Any] = {
        "learner": "head",
        "created_s": 0.0,
        "trained_until_s": 9.5,
        "classes": ("fear",),
        "verdict": {},
    }
    Store(home / HEADS, basis=BASIS.key).promote(home / "candidate", digest, **told)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with something of everything."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    node_secret(folder)
    put(folder, 5)
    open_history(folder / "history.sqlite").close()
    learn(folder, ANNA, 7)
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, but locks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def test_what_is_backed_up_comes_back(state: Path, tmp_path: Path) -> None:
    """Outbox, secret, samples and heads, each readable as before, and everything its owner's alone."""
    made = back_up(state, tmp_path / "b.tar", version="1.2.3")
    assert stat.S_IMODE((tmp_path / "b.tar").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("b.tar")] == ["b.tar"]
    secret = (state / "secret").read_bytes()
    new = tmp_path / "new"
    assert restore(new, tmp_path / "b.tar").files == made.files
    assert (new / "secret").read_bytes() == secret
    assert waiting(new) == [0, 1, 2, 3, 4]
    with Buffer(new / "personal" / ANNA, basis=BASIS) as buffer:
        assert buffer.samples().time_s.tolist() == [float(i) for i in range(7)]
    current = Store(new / "personal" / ANNA / HEADS, basis=BASIS.key).current()
    assert current is not None
    assert current.name == "personal-1"
    for path in new.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path.name == "lock", path


def test_only_what_stays_is_backed_up(state: Path, tmp_path: Path) -> None:
    """No locks, logs of changes, work in progress, damaged files, nor people of one session only."""
    for name in ("outbox.sqlite.damaged-1", "personal/x.part", "lock", ".restoring-1/secret"):
        (state / name).parent.mkdir(exist_ok=True)
        (state / name).write_bytes(b"x")
    with People(state / "personal").passing(BOB) as passing:
        (passing / "samples").write_bytes(b"x")
        (state / "personal" / ANNA / "job").mkdir()
        (state / "personal" / ANNA / "job" / "samples.npz").write_bytes(b"x")
        (state / "link").symlink_to("/etc/passwd")
        made = back_up(state, tmp_path / "b.tar", version="1")
    samples = f"personal/{ANNA}/samples-{BASIS.key}.sqlite"
    heads = {f"personal/{ANNA}/heads/{name}" for name in ("manifest.json", "personal-1.head")}
    assert set(made.files) == {"secret", "outbox.sqlite", "history.sqlite", samples, *heads}


def test_a_backup_beside_a_writer_is_whole(state: Path, tmp_path: Path) -> None:
    """However often it is made while events are committed, each has a gapless part of them."""
    stop, n_kept = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            put(state, 20)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(5):
            back_up(state, tmp_path / f"{i}.tar", version="1")
    finally:
        stop.set()
        writer.join()
    for i in range(5):
        restore(tmp_path / str(i), tmp_path / f"{i}.tar")
        kept = waiting(tmp_path / str(i))
        assert kept == list(range(len(kept)))
        with closing(sqlite3.connect(tmp_path / str(i) / "outbox.sqlite")) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        n_kept.append(len(kept))
    assert n_kept == sorted(n_kept)
    assert n_kept[-1] > n_kept[0]


def test_nothing_is_overwritten_unasked(state: Path, tmp_path: Path) -> None:
    """Neither a file nor a state; with --force the state is replaced, and nobody of the old one is left."""
    file = tmp_path / "b.tar"
    back_up(state, file, version="1")
    with pytest.raises(UnusableInputError, match="is there already"):
        back_up(state, file, version="1")
    back_up(state, file, version="2", force=True)
    learn(state, BOB, 3)
    put(state, 5)
    before = everything(state)
    with pytest.raises(UnusableInputError, match="holds a state already"):
        restore(state, file)
    assert everything(state) == before
    assert restore(state, file, force=True).version == "2"
    assert not (state / "personal" / BOB).exists()
    assert waiting(state) == [0, 1, 2, 3, 4]


def test_a_daemon_keeps_its_state(state: Path, tmp_path: Path) -> None:
    """While somebody has the folder nothing is restored into it; a backup can be made."""
    with locked(state):
        back_up(state, tmp_path / "b.tar", version="1")
        with pytest.raises(UnusableInputError, match="another attuned is using it"):
            restore(state, tmp_path / "b.tar", force=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_restores_belongs_to_the_owner_of_the_folder(state: Path, tmp_path: Path) -> None:
    """A service that runs as a user of its own can read what an administrator has restored."""
    back_up(state, tmp_path / "b.tar", version="1")
    new = tmp_path / "new"
    new.mkdir()
    os.chown(new, 65534, 65534)
    restore(new, tmp_path / "b.tar")
    assert {path.stat().st_uid for path in new.rglob("*")} == {65534}


def test_without_a_state_there_is_no_backup(tmp_path: Path) -> None:
    """No folder, an empty folder, a place that cannot be written: one line each."""
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(UnusableInputError, match="there is no state"):
            back_up(folder, tmp_path / "b.tar", version="1")
    (tmp_path / "state").mkdir()
    node_secret(tmp_path / "state")
    with pytest.raises(FailedError, match="cannot be made"):
        back_up(tmp_path / "state", tmp_path / "none" / "b.tar", version="1")


# Archives that are not what they say


def archive(path: Path, members: dict[str, bytes]) -> Path:
    """A tar file of these."""
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def listed(files: dict[str, bytes], **more: object) -> bytes:
    """A list of files as a backup has it."""
    told = {name: {"size": len(data), "sha256": sha256(data).hexdigest()} for name, data in files.items()}
    return json.dumps({"schema": 1, "created": "now", "version": "1", "files": told} | more).encode()


GOOD = {"secret": b"s" * 32}
BAD: dict[str, tuple[dict[str, bytes], str]] = {
    "no list": (GOOD, "is no backup"),
    "list that is none": ({MANIFEST: b"[]"}, "is no backup"),
    "list without files": ({MANIFEST: b'{"schema": 1}'}, "is no backup"),
    "newer": ({MANIFEST: listed(GOOD, schema=2, version="9.9")}, r"made by a newer attuned \(9\.9\)"),
    "missing": ({MANIFEST: listed(GOOD)}, "1 files are missing"),
    "not listed": ({MANIFEST: listed({}), "secret": b"x"}, "not what its list says"),
    "changed": ({MANIFEST: listed(GOOD), "secret": b"x" * 32}, "is damaged"),
    "shorter": ({MANIFEST: listed(GOOD), "secret": b"s"}, "not what its list says"),
    "outside": ({MANIFEST: listed({"../evil": b"x"}), "../evil": b"x"}, "not what its list says"),
    "absolute": ({MANIFEST: listed({"/evil": b"x"}), "/evil": b"x"}, "not what its list says"),
}


@pytest.mark.parametrize(("members", "words"), BAD.values(), ids=BAD)
def test_what_is_no_backup_changes_nothing(members: dict[str, bytes], words: str, state: Path, tmp_path: Path) -> None:
    """One line that says why, the state as it was, and nothing beside it."""
    before = everything(state)
    file = archive(tmp_path / "bad.tar", members)
    with pytest.raises(UnusableInputError, match=words):
        restore(state, file, force=True)
    assert everything(state) == before
    assert not any(path.name.startswith(".rest") for path in state.iterdir())
    assert not (tmp_path / "evil").exists()


def test_links_in_a_backup_are_refused(state: Path, tmp_path: Path) -> None:
    """A link would let a file lead somewhere else."""
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        data = listed({"secret": b""})
        info = tarfile.TarInfo(MANIFEST)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("secret")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(UnusableInputError, match="not what its list says"):
        restore(state, tmp_path / "bad.tar", force=True)


def test_files_that_are_no_archive(state: Path, tmp_path: Path) -> None:
    """Text, nothing, no file, an archive that breaks off."""
    (tmp_path / "text").write_text("no archive" * 100)
    (tmp_path / "empty").touch()
    for name in ("text", "empty"):
        with pytest.raises(UnusableInputError, match="is no backup"):
            restore(state, tmp_path / name, force=True)
    with pytest.raises(FailedError, match="cannot be restored"):
        restore(state, tmp_path / "none", force=True)
    back_up(state, tmp_path / "b.tar", version="1")
    data = (tmp_path / "b.tar").read_bytes()
    before = everything(state)
    (tmp_path / "short.tar").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnusableInputError, match=r"is no backup|missing|damaged"):
        restore(state, tmp_path / "short.tar", force=True)
    assert everything(state) == before


# Crashes


class Crash(BaseException):
    """The process is gone."""


def test_a_restoring_that_is_interrupted_is_finished(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is killed, afterwards there is the old state or, once the next one has the folder, the new one."""
    back_up(state, tmp_path / "b.tar", version="1")
    restore(tmp_path / "wanted", tmp_path / "b.tar")
    wanted = everything(tmp_path / "wanted")
    original = Path.rename
    n_finished = 0
    for crash_at in range(12):
        folder = tmp_path / f"crash-{crash_at}"
        folder.mkdir()
        node_secret(folder)
        learn(folder, BOB, 2)
        old = everything(folder)
        steps = iter(range(crash_at))

        def dies(path: Path, target: Path, steps: Any = steps) -> Path:  # noqa: ANN401 (an iterator)
            if next(steps, None) is None:
                raise Crash
            return original(path, target)

        monkeypatch.setattr(Path, "rename", dies)
        with suppress(Crash):
            restore(folder, tmp_path / "b.tar", force=True)
        monkeypatch.setattr(Path, "rename", original)
        n_finished += finish_restoring(folder)
        assert everything(folder) in ((old, wanted) if crash_at == 0 else (wanted,))
        assert not (folder / RESTORED).exists()
    assert n_finished >= 4


# Versions


def stamp(path: Path, version: int) -> None:
    """Makes a database one of that version."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {version}")


def newer_manifest(path: Path) -> None:
    """Makes a list of heads one of a later attuned."""
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))


NEWER: dict[str, Callable[[Path], None]] = {
    "outbox": lambda state: stamp(state / "outbox.sqlite", 99),
    "history": lambda state: stamp(state / "history.sqlite", 99),
    "samples": lambda state: stamp(next(state.glob("personal/*/samples-*.sqlite")), 99),
    "heads": lambda state: newer_manifest(next(state.glob("personal/*/heads/manifest.json"))),
}


@pytest.mark.parametrize("change", NEWER.values(), ids=NEWER)
def test_a_newer_state_is_refused(change: Callable[[Path], None], state: Path, tmp_path: Path) -> None:
    """In one line, before anything is opened, and nothing of it is touched; it is neither backed up nor restored."""
    back_up(state, tmp_path / "good.tar", version="1")
    check_state(state)
    change(state)
    before = everything(state)
    with pytest.raises(UnusableInputError, match="was written by a newer attuned; upgrade this one") as caught:
        check_state(state)
    assert "\n" not in str(caught.value)
    with pytest.raises(UnusableInputError, match="newer attuned"):
        back_up(state, tmp_path / "b.tar", version="1")
    assert everything(state) == before


def test_a_backup_of_newer_files_is_refused(state: Path, tmp_path: Path) -> None:
    """Also where the backup itself is of a version that we know."""
    stamp(state / "outbox.sqlite", 99)
    files = {"outbox.sqlite": (state / "outbox.sqlite").read_bytes()}
    file = archive(tmp_path / "b.tar", {MANIFEST: listed(files)} | files)
    with pytest.raises(UnusableInputError, match="newer attuned"):
        restore(tmp_path / "new", file)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lock"]


def test_every_file_with_a_version_is_looked_at(state: Path) -> None:
    """Whatever is a database, or a list of heads, is in the table of versions."""
    known = {path for pattern in VERSIONS for path in state.glob(pattern)}
    assert {path for path in state.rglob("*") if path.suffix in {".sqlite", ".json"}} == known


def test_samples_of_a_newer_attuned_are_not_erased(state: Path) -> None:
    """A buffer that is opened while another attuned has written it raises, and keeps what is there."""
    path = next(state.glob("personal/*/samples-*.sqlite"))
    stamp(path, 99)
    with pytest.raises(ModelError, match="newer attuned"), Buffer(path.parent, basis=BASIS):
        pass
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM samples").fetchone() == (7,)
    newer_manifest(path.parent / HEADS / "manifest.json")
    with pytest.raises(ModelError, match="newer attuned"):
        Store(path.parent / HEADS, basis=BASIS.key).current()


OUTBOX_0 = """
CREATE TABLE counters (topic TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT;
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL, created REAL NOT NULL) STRICT;
INSERT INTO counters VALUES ('attuned/local/session/s/event', 8);
INSERT INTO messages (topic, payload, created) VALUES ('t', CAST('{"seq": 6}' AS BLOB), 9e9), ('t', CAST('{"seq": 7}' AS BLOB), 9e9);
"""
"""As attuned before version 1 of this file made it."""
SAMPLES_0 = """
CREATE TABLE samples (
    second INTEGER PRIMARY KEY, serial INTEGER NOT NULL, time_s REAL NOT NULL, label INTEGER NOT NULL,
    human INTEGER NOT NULL, origin INTEGER NOT NULL, target BLOB NOT NULL, confidence REAL NOT NULL,
    quality REAL NOT NULL, pixel BLOB NOT NULL, landmark BLOB, interpretable BLOB, crop BLOB, written_s REAL NOT NULL
) STRICT;
CREATE INDEX of_class ON samples (label, human, second);
CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO samples VALUES (3, 1, 3.25, 2, 1, 1, zeroblob(56), 1.0, 0.5, zeroblob(16), NULL, NULL, NULL, 9e9);
INSERT INTO marks VALUES ('serial', 1);
"""


def test_older_files_are_taken_over(tmp_path: Path) -> None:
    """An outbox and samples of the first versions keep what they hold, and are of today's version then."""
    (tmp_path / "personal" / ANNA).mkdir(parents=True)
    outbox, samples = tmp_path / "outbox.sqlite", tmp_path / "personal" / ANNA / f"samples-{BASIS.key}.sqlite"
    for path, script in ((outbox, OUTBOX_0), (samples, SAMPLES_0)):
        with closing(sqlite3.connect(path)) as db:
            db.executescript(script)
    check_state(tmp_path)
    assert waiting(tmp_path) == [6, 7]
    put(tmp_path, 1)
    assert waiting(tmp_path) == [6, 7, 8]
    with Buffer(samples.parent, basis=BASIS) as buffer:
        assert buffer.samples().time_s.tolist() == [3.25]
        assert buffer.counts().n_human == 1
    for path in (outbox, samples):
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (1,)
    check_state(tmp_path)


def test_the_commands(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backup and restore from the command line, with --json; mistakes end with exit code 2 and one line."""
    monkeypatch.setenv("ATTUNED_STATE_DIR", str(state))
    monkeypatch.chdir(tmp_path)
    command = CliRunner()
    done = command.invoke(app, ["state", "backup", "b.tar", "--json"])
    assert json.loads(done.stdout)["files"] == 6
    for wrong in (
        ["state", "backup", "b.tar"],
        ["state", "restore", "b.tar"],
        ["state", "restore", "/dev/null", "--force"],
    ):
        refused = command.invoke(app, wrong)
        assert refused.exit_code == 2, wrong
        assert re.fullmatch(r"attuned: [^\n]*\n", refused.stderr)
    monkeypatch.setenv("ATTUNED_STATE_DIR", str(tmp_path / "new"))
    done = command.invoke(app, ["state", "restore", "b.tar"])
    assert re.match(r".*/new: 6 files of 20\d\d-", done.stdout), done.output
    assert waiting(tmp_path / "new") == [0, 1, 2, 3, 4]
