"""The versions of a head: promotion, rolling back, bounds, damage, crashes."""

import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from config.settings import load_settings
from daemon.catalogue import show_person
from daemon.cli import app
from daemon.state import locked
from models.errors import ModelError
from models.manifest import read_manifest
from models.personal.basis import Basis
from models.personal.buffer import Buffer, Features, Label
from models.personal.people import HEADS, People
from models.personal.samples import Origin
from models.personal.store import Store, Version

BASIS = "0123456789abcdef"


def promoted(store: Store, content: bytes, *, created_s: float = 0.0) -> Version:
    """Makes a candidate with that content the version that serves."""
    candidate = store.folder.parent / "candidate"
    store.folder.parent.mkdir(parents=True, exist_ok=True)
    candidate.write_bytes(content)
    version = store.promote(
        candidate,
        sha256(content).hexdigest(),
        learner="head",
        created_s=created_s,
        trained_until_s=9.5,
        classes=("happiness", "neutral"),
        verdict={"passed": True, "reasons": [], "figures": {"silhouette": 0.3}},
    )
    assert not candidate.exists()
    return version


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store without versions."""
    return Store(tmp_path / "p-0000000a" / "heads", basis=BASIS)


def test_an_empty_store_serves_nothing_and_makes_nothing(store: Store) -> None:
    """Looking writes no file."""
    assert (store.current(), store.versions()) == (None, ())
    assert store.step_back() == (None, None)
    assert not store.roll_back("personal-1", "harm")


def test_a_promoted_head_serves_also_after_a_restart(store: Store) -> None:
    """Numbered from 1, private, with all that it was judged by."""
    assert promoted(store, b"one").name == "personal-1"
    promoted(store, b"two", created_s=7.0)
    again = Store(store.folder, basis=BASIS)
    current = again.current()
    assert current is not None
    assert (current.name, current.created_s, current.classes) == ("personal-2", 7.0, ("happiness", "neutral"))
    assert current.verdict["figures"] == {"silhouette": 0.3}
    assert again.check(current).read_bytes() == b"two"
    assert [version.name for version in again.versions()] == ["personal-1", "personal-2"]
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()}
    assert modes == dict.fromkeys(("manifest.json", "personal-1.head", "personal-2.head", "lock"), 0o600)


def test_the_oldest_go_beyond_the_bound(tmp_path: Path) -> None:
    """By number and by bytes; the one that serves is never the one that goes; numbers are not used again."""
    store = Store(tmp_path / "heads", basis=BASIS, max_versions=3, max_bytes=100)
    for i in range(5):
        promoted(store, b"%d" % i)
    assert [version.name for version in store.versions()] == ["personal-3", "personal-4", "personal-5"]
    assert sorted(path.name for path in store.folder.glob("*.head")) == [f"personal-{i}.head" for i in (3, 4, 5)]
    promoted(store, bytes(range(99)))
    assert [version.name for version in store.versions()] == ["personal-5", "personal-6"]
    promoted(store, bytes(200))
    assert [version.name for version in store.versions()] == ["personal-7"]
    assert store.current() is not None


def test_a_head_that_does_harm_never_serves_again(store: Store) -> None:
    """The generic head serves instead, not an older version; the very same head is not promoted again either."""
    promoted(store, b"one")
    promoted(store, b"two")
    assert not store.roll_back("personal-1", "it does not serve")
    assert store.roll_back("personal-2", "worse on 13 blocks")
    assert not store.roll_back("personal-2", "again")
    assert store.current() is None
    bad = store.versions()[1]
    assert (bad.state, bad.reason) == ("rolled_back", "worse on 13 blocks")
    with pytest.raises(ModelError, match="rolled back before"):
        promoted(store, b"two")
    assert promoted(store, b"three").name == "personal-3"


def test_a_person_goes_back_step_by_step(store: Store) -> None:
    """To the version before that is neither rolled back nor damaged, at last to the generic head."""
    for content in (b"one", b"two", b"three", b"four"):
        promoted(store, content)
    store.path(store.versions()[1]).write_bytes(b"two!")
    steps = [store.step_back() for _ in range(4)]
    assert [(was and was.name, now and now.name) for was, now in steps] == [
        ("personal-4", "personal-3"),
        ("personal-3", "personal-1"),
        ("personal-1", None),
        (None, None),
    ]
    assert store.current() is None
    assert {version.state for version in store.versions() if version.name != "personal-2"} == {"rolled_back"}


@pytest.mark.parametrize("content", [b"", b"something else", None])
def test_a_head_that_is_not_what_was_judged_is_refused(store: Store, content: bytes | None) -> None:
    """Damaged, foreign or gone: one clear line, and no head."""
    version = promoted(store, b"one")
    path = store.path(version)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(
        ModelError, match=r"p-0000000a: personal-1 is not used, the generic head serves: .*SHA-256"
    ) as e:
        store.current()
    assert "\n" not in str(e.value)


def test_a_candidate_that_was_changed_after_it_was_judged_is_refused(store: Store, tmp_path: Path) -> None:
    """And what served before serves on."""
    promoted(store, b"one")
    (tmp_path / "other").write_bytes(b"not judged")
    with pytest.raises(ModelError, match="not the file that was judged"):
        store.promote(
            tmp_path / "other",
            sha256(b"judged").hexdigest(),
            learner="head",
            created_s=0,
            trained_until_s=0,
            classes=(),
            verdict={},
        )
    current = store.current()
    assert current is not None
    assert current.name == "personal-1"


def test_heads_of_other_models_wait_for_them(store: Store) -> None:
    """They are kept, and do not serve."""
    promoted(store, b"one")
    other = Store(store.folder, basis="f" * 16)
    with pytest.raises(ModelError, match="trained for other expression models"):
        other.current()
    assert promoted(other, b"two").name == "personal-2"
    assert other.current() is not None
    with pytest.raises(ModelError, match="trained for other expression models"):
        store.current()
    _, now = store.step_back()
    assert now is not None
    assert now.name == "personal-1"


def damaged(store: Store) -> dict[str, str]:
    """Manifests that are none, by what is wrong with them."""
    good = json.loads((store.folder / "manifest.json").read_text())
    outside = {"file": "../../secret", "name": "../../secret"}
    return {
        "no JSON": "{",
        "a list": "[]",
        "binary": "\x00\x01",
        "another schema": json.dumps(good | {"schema": 0}),
        "a current that is not there": json.dumps(good | {"current": "personal-9"}),
        "a path outside": json.dumps(good | {"versions": [good["versions"][0] | outside], "current": None}),
        "a state of its own": json.dumps(good | {"versions": [good["versions"][0] | {"state": "best"}]}),
        "a field too many": json.dumps(good | {"versions": [good["versions"][0] | {"x": 1}]}),
        "no hash": json.dumps(good | {"versions": [{"name": "personal-1"}]}),
    }


def test_a_damaged_manifest_is_one_line_and_nothing_is_erased(store: Store) -> None:
    """Whatever is wrong with it."""
    promoted(store, b"one")
    for wrong, text in damaged(store).items():
        (store.folder / "manifest.json").write_text(text)
        for call in (store.current, store.versions, store.step_back, lambda: promoted(store, b"two")):
            with pytest.raises(ModelError, match=r"manifest.json: is damaged, so the generic head serves"):
                call()
        assert (store.folder / "personal-1.head").read_bytes() == b"one", wrong


def test_what_a_crash_left_is_removed_with_the_next_change(store: Store) -> None:
    """A head whose manifest was never written, a manifest half written."""
    promoted(store, b"one")
    (store.folder / "personal-2.head").write_bytes(b"orphan")
    (store.folder / "manifest.json.12345678.part").write_bytes(b"half")
    promoted(store, b"two")
    assert sorted(path.name for path in store.folder.iterdir()) == [
        "lock",
        "manifest.json",
        "personal-1.head",
        "personal-2.head",
    ]
    assert store.path(store.versions()[1]).read_bytes() == b"two"


WRITER = """
import os, sys
from hashlib import sha256
from pathlib import Path
from models.personal.store import Store

def write():
    store = Store(Path(sys.argv[1]) / "heads", basis="0123456789abcdef", max_versions=3)
    n = 0
    while True:
        n += 1
        content = os.urandom(20000)
        candidate = Path(sys.argv[1]) / "candidate"
        candidate.write_bytes(content)
        verdict = {"passed": True, "reasons": [], "n": n}
        version = store.promote(candidate, sha256(content).hexdigest(), learner="head", created_s=n,
                                trained_until_s=n, classes=("happiness",), verdict=verdict)
        os.write(1, f"{version.name}\\n".encode())
        if n % 3 == 0:
            store.roll_back(version.name, "harm")
            os.write(1, b"generic\\n")

for line in sys.stdin:
    pid = os.fork()
    if not pid:
        os.write(1, f"{os.getpid()}\\n".encode())
        write()
    os.waitpid(pid, 0)
    os.write(1, b"over\\n")
"""


def test_kill_9_during_the_swap_leaves_the_old_head_or_the_new_one(tmp_path: Path) -> None:
    """Thirty times at random moments: what serves is whole, the last that was confirmed or the one under way."""
    moments = random.Random(6)  # noqa: S311 (when to kill)
    n_seen = 0
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        for _ in range(30):
            nursery.stdin.write("next\n")
            pid = int(nursery.stdout.readline())
            told = [nursery.stdout.readline().strip()]
            time.sleep(moments.uniform(0, 0.1))
            os.kill(pid, signal.SIGKILL)
            told += [line.strip() for line in iter(nursery.stdout.readline, "over\n")]
            n_seen += len(told)
            store = Store(tmp_path / "heads", basis=BASIS, max_versions=3)
            current = store.current()
            serves = "generic" if current is None else current.name
            newest = max(int(name.split("-")[1]) for name in told if name != "generic")
            after = {"generic", f"personal-{newest + 1}"} if told[-1] != "generic" else {f"personal-{newest + 1}"}
            assert serves in {told[-1], *after}
            assert len(store.versions()) <= 3
            for version in store.versions():
                store.check(version)
        nursery.stdin.close()
    promoted(store, b"the next start")
    names = {version.file for version in store.versions()} | {"manifest.json", "lock"}
    assert {path.name for path in store.folder.iterdir()} == names
    assert n_seen > 35


ANNA = "p-0000000a"
SHIPPED = Basis(read_manifest()["pixel"].sha256, read_manifest()["landmark"].sha256)


@pytest.fixture
def anna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> People:
    """A state folder in which Anna has a sample and two versions."""
    monkeypatch.setenv("ATTUNED_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    people = People(tmp_path / "state" / "personal")
    with Buffer(people.folder(ANNA), basis=SHIPPED) as buffer:
        features = Features(np.ones(256, np.float32), None, None, 0.5)
        buffer.add(1, features, Label.of("fear", Origin.CORRECTION))
    store = Store(people.folder(ANNA) / HEADS, basis=SHIPPED.key)
    promoted(store, b"one")
    promoted(store, b"two")
    return people


def said(*arguments: str, code: int = 0) -> str:
    """What a command prints."""
    done = CliRunner().invoke(app, ["models", *arguments])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def test_personal_heads_are_listed_with_the_other_models(anna: People) -> None:
    """A row for each version, with who it belongs to and whether it serves."""
    rows = [row for row in json.loads(said("list", "--json"))["models"] if row["name"] == ANNA]
    assert [(row["version"], row["kind"], row["in_use"]) for row in rows] == [
        ("personal-1", "head", False),
        ("personal-2", "head", True),
    ]
    assert Path(rows[1]["file"]).read_bytes() == b"two"
    assert said("list").splitlines()[-1].split()[:4] == [ANNA, "personal-2", "head", "yes"]


def test_what_is_kept_of_a_person_is_shown(anna: People) -> None:
    """Samples by class, versions with their verdicts, who serves."""
    shown = show_person(load_settings(), ANNA)
    assert (shown["serves"], shown["samples"]) == ("personal-2", {"fear": 1})
    assert [version["state"] for version in shown["versions"]] == ["kept", "kept"]
    json.dumps(shown)


def test_rollback_goes_back_and_says_so(anna: People) -> None:
    """Step by step, at last there is nothing to roll back."""
    assert said("rollback", ANNA) == f"{ANNA}: personal-2 → personal-1\n"
    assert json.loads(said("rollback", ANNA, "--json")) == {"participant": ANNA, "from": "personal-1", "to": "generic"}
    assert "the generic head serves; there is nothing to roll back" in said("rollback", ANNA, code=2)


def test_forget_erases_a_person(anna: People) -> None:
    """All of it, once."""
    assert said("forget", ANNA) == f"{ANNA}: forgotten\n"
    assert list(anna.root.iterdir()) == []
    assert f"nothing is kept of {ANNA}" in said("forget", ANNA, code=2)
    assert "eight hexadecimal digits" in said("forget", "../../anna", code=2)


def test_nothing_is_changed_under_a_running_daemon(anna: People) -> None:
    """One line that says how it can be done."""
    with locked(anna.root.parent):
        for command in ("forget", "rollback"):
            line = said(command, ANNA, code=2)
            assert "another attuned is using it" in line
            assert "DELETE /api/v1/sessions/<id>/participants/<participant>/data" in line
            assert line.count("\n") == 1
    assert anna.known() == (ANNA,)
