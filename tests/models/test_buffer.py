"""The buffer of samples: bounds, balance, who wins a second, crashes, forgetting, crops."""

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from builders import p
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ModelError
from models.personal.basis import Basis
from models.personal.buffer import Added, Buffer, Features, Label, most_redundant
from models.personal.crops import Cipher
from models.personal.people import JOB, People
from models.personal.private import erase_folder, write_private
from models.personal.samples import Origin
from models.personal.trigger import Tally, why_not_yet
from pipeline.emotions import EMOTIONS

DIM = 8
BASIS = Basis("a" * 64, "b" * 64, DIM, DIM)
ANNA = "p-0000000a"
DAY_S = 86400.0
MARKER = np.array([1.2345, 2.3456, 3.4567, 4.5678, 5.6789, 6.789, 7.89, 8.9], dtype=np.float32)
"""An embedding that is looked for in files."""


def features(value: float = 0.0, quality: float = 0.5, *, mesh: bool = True) -> Features:
    """What is kept of a frame; embeddings of one value each."""
    landmark = np.full(DIM, -value, dtype=np.float32) if mesh else None
    interpretable = np.full(51, value, dtype=np.float32) if mesh else None
    return Features(np.full(DIM, value, dtype=np.float32), landmark, interpretable, quality)


def group(name: str = "neutral", share: float = 0.7) -> Label:
    """A label of the group."""
    return Label(p(**{name: share}), share, Origin.GROUP)


def said(name: str) -> Label:
    """A person's word."""
    return Label.of(name, Origin.CORRECTION)


def opened(folder: Path, **options: object) -> Buffer:
    """A buffer of small embeddings."""
    return Buffer(folder, basis=BASIS, **options)  # type: ignore[arg-type]


def test_what_was_added_comes_back_in_the_order_of_time_also_after_a_restart(tmp_path: Path) -> None:
    """All fields, half precision for embeddings, nan where there was no mesh; folder 0700, file 0600."""
    with opened(tmp_path / ANNA) as buffer:
        assert len(buffer.samples()) == 0
        assert buffer.samples().pixel.shape == (0, DIM)
        buffer.add(12.9, features(0.1, 0.8, mesh=False), said("fear"))
        buffer.add(3.25, features(2.0, 0.4), group("happiness", 0.7))
    with opened(tmp_path / ANNA) as buffer:
        samples = buffer.samples()
    assert samples.time_s.tolist() == [3.25, 12.9]
    assert samples.pixel[:, 0].tolist() == [2.0, float(np.float16(0.1))]
    assert samples.pixel.dtype == samples.landmark.dtype == samples.interpretable.dtype == np.float32
    assert samples.landmark[0, 0] == -2.0
    assert np.isnan(samples.landmark[1]).all()
    assert np.isnan(samples.interpretable[1]).all()
    assert samples.target.tolist() == [p(happiness=0.7).tolist(), p(fear=1.0).tolist()]
    assert samples.confidence.tolist() == [0.7, 1.0]
    assert samples.quality.tolist() == [0.4, 0.8]
    assert samples.origin.tolist() == [Origin.GROUP, Origin.CORRECTION]
    assert stat.S_IMODE((tmp_path / ANNA).stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / ANNA).iterdir()] == [0o600]


# First sample of a second; second one; what becomes of it; value of the embedding and label that stay.
CONTESTS: list[tuple[tuple[float, Label], tuple[float, Label], Added, float, str]] = [
    ((0.5, group("anger")), (0.6, group("fear")), "replaced", 2.0, "fear"),
    ((0.5, group("anger")), (0.5, group("fear")), "kept_out", 1.0, "anger"),
    ((0.5, group("anger")), (0.4, group("fear")), "kept_out", 1.0, "anger"),
    ((0.5, group("anger")), (0.4, said("fear")), "replaced", 1.0, "fear"),
    ((0.5, group("anger")), (0.6, said("fear")), "replaced", 2.0, "fear"),
    ((0.5, said("anger")), (0.6, group("fear")), "replaced", 2.0, "anger"),
    ((0.5, said("anger")), (0.4, group("fear")), "kept_out", 1.0, "anger"),
    ((0.5, said("anger")), (0.4, said("fear")), "replaced", 1.0, "fear"),
]


@pytest.mark.parametrize(("first", "second", "became", "value", "label"), CONTESTS)
def test_a_second_has_one_sample(
    tmp_path: Path,
    first: tuple[float, Label],
    second: tuple[float, Label],
    became: Added,
    value: float,
    label: str,
) -> None:
    """The better frame, and a person's label before the group's, the later of two persons' words."""
    with opened(tmp_path) as buffer:
        assert buffer.add(7.1, features(1.0, first[0]), first[1]) == "added"
        assert buffer.add(7.9, features(2.0, second[0]), second[1]) == became
        samples = buffer.samples()
        counters = (buffer.n_added, buffer.n_replaced, buffer.n_kept_out)
    assert len(samples) == 1
    assert samples.pixel[0, 0] == value
    assert EMOTIONS[samples.label[0]] == label
    assert counters == (1, int(became == "replaced"), int(became == "kept_out"))


def test_corrections_relabel_what_is_there(tmp_path: Path) -> None:
    """Of a stretch of seconds, both ends included; they are news for the next training, a better frame is not."""
    with opened(tmp_path) as buffer:
        for second in range(5):
            buffer.add(second, features(), group("anger"))
        buffer.mark()
        buffer.add(0.5, features(quality=0.9), group("anger"))
        assert buffer.counts().n_new == 0
        assert buffer.relabel(1.9, 3.0, said("sadness")) == 3
        assert buffer.relabel(70, 80, said("sadness")) == 0
        counts = buffer.counts()
        with pytest.raises(ValueError, match="only a person's label"):
            buffer.relabel(1, 2, group())
    assert (counts.n, counts.n_new, counts.n_human, counts.n_blocks) == (5, 3, 3, 1)
    assert {name: n for name, n in counts.of_class.items() if n} == {"anger": 2, "sadness": 3}


def test_the_mark_survives_a_restart(tmp_path: Path) -> None:
    """New is what came after the last attempt."""
    with opened(tmp_path) as buffer:
        for second in range(30):
            buffer.add(second, features(), group())
        buffer.mark()
        buffer.add(35, features(), group())
    with opened(tmp_path) as buffer:
        assert (buffer.counts().n_new, buffer.counts().n, buffer.counts().n_blocks) == (1, 31, 4)


def test_what_can_be_missed_best_is_worked_by_hand() -> None:
    """Neighbours of 0, 1, 2, 10, 12 are inf, 2, 9, 10, inf apart: 1 goes; a person's labels only when all are."""
    seconds = np.array([0, 1, 2, 10, 12])
    nobody, everybody = np.zeros(5, dtype=bool), np.ones(5, dtype=bool)
    assert most_redundant(seconds, nobody) == 1
    assert most_redundant(seconds, np.array([False, True, False, False, False])) == 2
    assert most_redundant(seconds, everybody) == 1
    assert most_redundant(np.array([0, 5, 10, 15]), nobody[:4]) == 1
    assert most_redundant(np.array([4]), nobody[:1]) == 0


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), st.booleans()), max_size=70), st.integers(2, 12))
def test_the_bound_holds_and_every_class_keeps_its_part(stream: list[tuple[int, int, bool]], bound: int) -> None:
    """Whatever comes in whatever order: never more than the bound; dropped were only those of a largest class."""
    with TemporaryDirectory() as folder, opened(Path(folder), max_samples=bound) as buffer:
        before: Counter[str] = Counter()
        for second, of, human in stream:
            name = EMOTIONS[of]
            dropped = buffer.n_dropped
            became = buffer.add(second, features(), said(name) if human else group(name))
            after = Counter({key: n for key, n in buffer.counts().of_class.items() if n})
            assert after.total() <= bound
            if buffer.n_dropped > dropped:
                assert became == "added"
                assert before.total() == bound
                grown = before + Counter([name])
                (gone,) = (grown - after).elements()
                assert grown[gone] == max(grown.values())
            before = after
        assert len(buffer.samples()) == before.total() == buffer.n_added - buffer.n_dropped


def test_a_frequent_class_is_thinned_over_its_whole_time(tmp_path: Path) -> None:
    """An hour of neutral and two short laughs in a buffer of 60: both laughs stay whole, neutral spans the hour."""
    with opened(tmp_path, max_samples=60) as buffer:
        for second in range(600):
            buffer.add(second, features(), group("happiness" if second % 300 in range(100, 110) else "neutral"))
        samples = buffer.samples()
    happy = samples.time_s[samples.label == EMOTIONS.index("happiness")]
    neutral = samples.time_s[samples.label == EMOTIONS.index("neutral")]
    assert happy.tolist() == [*range(100, 110), *range(400, 410)]
    assert len(neutral) == 40
    assert (neutral.min(), neutral.max()) == (0, 599)
    assert np.diff(neutral).max() < 4 * 600 / 40


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Features(np.zeros(3, dtype=np.float32), None, None, 0.5), r"pixel: expected \(8,\)"),
        (Features(np.full(DIM, np.nan, dtype=np.float32), None, None, 0.5), "0 of them finite"),
        (Features(np.zeros(DIM, dtype=np.float32), np.zeros(DIM + 1, dtype=np.float32), None, 0.5), "landmark"),
    ],
)
def test_features_of_another_shape_are_refused(tmp_path: Path, broken: Features, message: str) -> None:
    """And nothing is written."""
    with opened(tmp_path) as buffer:
        with pytest.raises(ValueError, match=message):
            buffer.add(1, broken, group())
        with pytest.raises(ValueError, match="target: expected"):
            buffer.add(1, features(), Label(np.ones(7), 0.5, Origin.GROUP))
        assert buffer.counts().n == 0


def test_large_embeddings_end_at_what_half_precision_holds(tmp_path: Path) -> None:
    """65504, not infinity."""
    with opened(tmp_path) as buffer:
        buffer.add(1, features(1e6), group())
        assert buffer.samples().pixel[0, 0] == 65504
        assert buffer.samples().interpretable[0, 0] == 1e6


def test_samples_of_other_models_are_set_aside_and_never_mixed(tmp_path: Path) -> None:
    """With one clear line; with the models they come back; of many, the newest two are kept."""
    with opened(tmp_path) as buffer:
        buffer.add(1, features(), group())
    other = Basis("c" * 64, "b" * 64, DIM, DIM)
    with Buffer(tmp_path, basis=other) as buffer:
        assert len(buffer.notices) == 1
        assert "set aside" in buffer.notices[0]
        assert buffer.counts().n == 0
        buffer.add(2, features(), group())
        buffer.add(3, features(), group())
    with Buffer(tmp_path, basis=other) as buffer:
        assert buffer.notices == ()
    with opened(tmp_path) as buffer:
        assert buffer.samples().time_s.tolist() == [1]
    for name in "defg":
        with Buffer(tmp_path, basis=Basis(name * 64, "b" * 64, DIM, DIM)):
            pass
    assert len(list(tmp_path.glob("samples-*"))) == 3


def test_a_damaged_file_is_replaced_with_one_line(tmp_path: Path) -> None:
    """Pages overwritten by something else: its samples are lost, the call goes on."""
    with opened(tmp_path) as buffer:
        for second in range(50):
            buffer.add(second, features(), group())
    [path] = tmp_path.glob("samples-*")
    path.write_bytes(b"no database at all" * 500)
    with opened(tmp_path) as buffer:
        assert len(buffer.notices) == 1
        assert "was damaged" in buffer.notices[0]
        assert buffer.add(1, features(), group()) == "added"


def fill(buffer: Buffer) -> None:
    """More than a few pages."""
    for second in range(200):
        buffer.add(second, features(), group())


def test_a_disk_that_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    """The path and what to do."""
    (tmp_path / ANNA).write_text("not a folder")
    with pytest.raises(OSError, match="File exists"), opened(tmp_path / ANNA):
        pass
    with opened(tmp_path / "full", cipher=Cipher(bytes(32), ANNA)) as buffer:
        buffer._db.execute("PRAGMA max_page_count = 1")
        with pytest.raises(OSError, match=r"samples cannot be kept .*; free the disk"):
            fill(buffer)
        assert len(buffer.samples()) == buffer.n_added


def test_old_samples_expire(tmp_path: Path) -> None:
    """What was written longer ago than `keep_days` is gone when the buffer is opened."""
    now = [0.0]
    with opened(tmp_path, keep_days=10, clock=lambda: now[0]) as buffer:
        buffer.add(1, features(), group())
        now[0] = 6 * DAY_S
        buffer.add(2, features(), group())
    now[0] = 11 * DAY_S
    with opened(tmp_path, keep_days=10, clock=lambda: now[0]) as buffer:
        assert (buffer.samples().time_s.tolist(), buffer.n_expired) == ([2], 1)


def test_two_buffers_on_one_folder_see_each_other(tmp_path: Path) -> None:
    """One person in two calls: the bound is one."""
    with opened(tmp_path, max_samples=3) as one, opened(tmp_path, max_samples=3) as two:
        for second in range(4):
            (one if second % 2 else two).add(second, features(), group())
        assert one.samples().time_s.tolist() == two.samples().time_s.tolist() == [0, 2, 3]


def bytes_below(folder: Path) -> bytes:
    """All that the files of a folder hold."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_forgetting_leaves_no_byte(tmp_path: Path) -> None:
    """Neither a name nor a byte: files are overwritten too, which shows in links to them that were made before."""
    people = People(tmp_path / "personal")
    marker = MARKER.astype(np.float16).tobytes()
    with opened(people.folder(ANNA)) as buffer:
        buffer.add(1, Features(MARKER, MARKER, None, 0.5), group())
        (people.folder(ANNA) / "heads").mkdir()
        (people.folder(ANNA) / "heads" / "personal-1.head").write_bytes(b"a head of anna")
        assert marker in bytes_below(people.folder(ANNA))
        (tmp_path / "links").mkdir()
        for path in people.folder(ANNA).rglob("*"):
            if path.is_file() and not path.name.endswith("-shm"):
                (tmp_path / "links" / path.name).hardlink_to(path)
    assert people.known() == (ANNA,)
    assert people.forget(ANNA)
    assert (people.known(), people.find(ANNA), list(people.root.iterdir())) == ((), None, [])
    left = bytes_below(tmp_path)
    assert len(left) > 4096
    assert set(left) == {0}
    assert not people.forget(ANNA)


def test_samples_that_were_dropped_leave_no_byte(tmp_path: Path) -> None:
    """Once the log is written back, an erased sample is nowhere in the files, even while others stay."""
    now = [0.0]
    with opened(tmp_path, clock=lambda: now[0], keep_days=1) as buffer:
        buffer.add(1, Features(MARKER, MARKER, None, 0.5), group())
        now[0] = 0.9 * DAY_S
        buffer.add(2, features(), group())
        now[0] = 1.1 * DAY_S
        buffer.expire()
        assert buffer.samples().time_s.tolist() == [2]
        assert MARKER.astype(np.float16).tobytes() not in bytes_below(tmp_path)


def test_what_a_crash_interrupted_is_finished_at_the_next_start(tmp_path: Path) -> None:
    """Half forgotten people, people of one session only, half written files and trainings; the rest stays."""
    people = People(tmp_path / "personal")
    assert people.sweep() == 0
    folder = people.folder(ANNA)
    with opened(folder) as buffer:
        buffer.add(1, features(), group())
    (folder / JOB).mkdir()
    (folder / JOB / "candidate.head").write_bytes(b"half")
    (folder / "manifest.json.1234.part").write_bytes(b"half")
    (people.root / ".forgotten-1234").mkdir()
    (people.root / ".forgotten-1234" / "samples").write_bytes(b"x")
    (people.root / ".passing" / ANNA).mkdir(parents=True)
    assert people.sweep() == 4
    assert [path.name for path in people.root.iterdir()] == [ANNA]
    with opened(folder) as buffer:
        assert buffer.counts().n == 1
    assert people.sweep() == 0


def test_who_is_not_known_again_leaves_nothing(tmp_path: Path) -> None:
    """The folder lives with the session; two sessions do not share it."""
    people = People(tmp_path / "personal")
    with people.passing(ANNA) as one, people.passing(ANNA) as two, opened(one) as buffer:
        buffer.add(1, features(), group())
        assert one != two
        assert people.known() == ()
    assert not one.exists()
    assert not two.exists()


@pytest.mark.parametrize("stable", [True, False])
def test_samples_stay_only_of_those_who_are_known_again(tmp_path: Path, *, stable: bool) -> None:
    """The second session finds them, or an empty buffer."""
    people, found = People(tmp_path / "personal"), []
    for second in range(2):
        with people.opened(ANNA, stable=stable) as folder, opened(folder) as buffer:
            buffer.add(second, features(), group())
            found.append(buffer.counts().n)
    assert found == ([1, 2] if stable else [1, 1])
    assert people.known() == ((ANNA,) if stable else ())


def test_a_file_that_cannot_be_put_there_leaves_no_part(tmp_path: Path) -> None:
    """The error is told, and nothing lies about."""
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_private(tmp_path / "taken", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_erasing_follows_no_link(tmp_path: Path) -> None:
    """A link is removed, what it leads to stays; what is not there is erased already."""
    (tmp_path / "other").write_bytes(b"of somebody else")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "mine" / "folder").symlink_to(tmp_path)
    erase_folder(tmp_path / "mine")
    erase_folder(tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert (tmp_path / "other").read_bytes() == b"of somebody else"


@pytest.mark.parametrize("name", ["../x", "p-aaaaaaa", "p-aaaaaaaa/..", "", "Anna", "p-AAAAAAAA"])
def test_only_pseudonyms_have_folders(tmp_path: Path, name: str) -> None:
    """Nothing else becomes a path, and what it was is not said again."""
    people = People(tmp_path / "personal")
    for method in (people.folder, people.find, people.forget):
        with pytest.raises(ValueError, match="eight hexadecimal digits") as caught:
            method(name)
        assert name == "" or name not in str(caught.value)


def test_crops_are_encrypted_and_expire(tmp_path: Path) -> None:
    """Only with a cipher; unreadable on disk, whole with the key, gone after their days while the sample stays."""
    now = [0.0]
    cipher = Cipher.of(tmp_path / "state" / "crops.key", ANNA)
    crop = np.arange(48 * 48, dtype=np.uint8).reshape(48, 48)
    colour = np.stack([crop] * 3, axis=2)
    frames = [Features(MARKER, None, None, 0.5, picture) for picture in (crop, colour, None)]

    def buffer(of: Cipher | None) -> Buffer:
        return opened(tmp_path / ANNA, cipher=of, crop_days=2, clock=lambda: now[0])

    with buffer(cipher) as kept:
        for second, frame in enumerate(frames):
            kept.add(second, frame, group())
        assert np.array_equal(kept.crop(0), crop)
        assert np.array_equal(kept.crop(1), colour)
        assert kept.crop(2) is None
        assert kept.crop(99) is None
        assert bytes(range(100)) not in bytes_below(tmp_path / ANNA)
    assert stat.S_IMODE((tmp_path / "state" / "crops.key").stat().st_mode) == 0o600
    with buffer(Cipher(bytes(32), ANNA)) as kept, pytest.raises(ModelError, match="another key"):
        kept.crop(0)
    with buffer(Cipher(cipher.key, "p-0000000b")) as kept, pytest.raises(ModelError, match="another key"):
        kept.crop(0)
    now[0] = 2.1 * DAY_S
    with buffer(Cipher.of(tmp_path / "state" / "crops.key", ANNA)) as kept:
        assert kept.crop(0) is None
        assert kept.counts().n == 3


def test_no_picture_is_kept_unless_asked_for(tmp_path: Path) -> None:
    """Crops are not written without a cipher, and those of before go when it is switched off."""
    crop = np.arange(48 * 48, dtype=np.uint8).reshape(48, 48)
    cipher = Cipher.of(tmp_path / "crops.key", ANNA)
    with opened(tmp_path / ANNA) as buffer:
        buffer.add(1, Features(MARKER, None, None, 0.5, crop), group())
        assert buffer._db.execute("SELECT crop FROM samples").fetchall() == [(None,)]
    with opened(tmp_path / ANNA, cipher=cipher) as buffer:
        buffer.add(2, Features(MARKER, None, None, 0.5, crop), group())
    # Who only looks at samples needs no key, and takes nothing away.
    with opened(tmp_path / ANNA) as buffer:
        assert [row is None for (row,) in buffer._db.execute("SELECT crop FROM samples")] == [True, False]
    with opened(tmp_path / ANNA, erase_crops=True) as buffer:
        assert buffer._db.execute("SELECT crop FROM samples").fetchall() == [(None,), (None,)]


def test_a_damaged_key_and_a_missing_package_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to do stands in it."""
    (tmp_path / "crops.key").write_bytes(b"short")
    with pytest.raises(ModelError, match="expected 32 bytes, found 5"):
        Cipher.of(tmp_path / "crops.key", ANNA)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ModelError, match="pip install cryptography"):
        Cipher.of(tmp_path / "crops.key", ANNA)


ENOUGH = {"anger": 20, "neutral": 200, "sadness": 20}
NOBODY = Tally({}, 0, 0)


@pytest.mark.parametrize(
    ("of_class", "n_new", "n_blocks", "missing"),
    [
        (ENOUGH, 120, 44, None),
        (ENOUGH | {"neutral": 199}, 120, 44, "239 of 240 samples"),
        (ENOUGH | {"anger": 19, "neutral": 201}, 120, 44, "2 of 3 expressions with 20 samples each"),
        (ENOUGH, 119, 44, "119 of 120 new samples since the last attempt"),
        (ENOUGH, 120, 43, "samples in 43 of 44 tens of seconds"),
        # A quarter of 1,000.
        (ENOUGH | {"neutral": 960}, 249, 44, "249 of 250 new samples since the last attempt"),
        (ENOUGH | {"neutral": 960}, 250, 44, None),
    ],
)
def test_when_a_training_is_due(of_class: dict[str, int], n_new: int, n_blocks: int, missing: str | None) -> None:
    """Each bound, met and just missed."""
    assert why_not_yet(Tally(of_class, n_new, n_blocks), NOBODY) == missing


@pytest.mark.parametrize(
    ("n", "n_new", "n_blocks", "missing"),
    [
        (30, 4, 12, None),
        (29, 4, 12, "29 of 30 samples"),
        (30, 3, 12, "3 of 4 new samples since the last attempt"),
        (30, 4, 11, "samples in 11 of 12 stretches of one expression"),
        (90, 8, 12, "8 of 9 new samples since the last attempt"),
        (90, 9, 12, None),
    ],
)
def test_what_people_say_needs_fewer(n: int, n_new: int, n_blocks: int, missing: str | None) -> None:
    """Thirty of people's labels in twelve stretches are enough, whatever the group has said."""
    human = Tally({"anger": 3, "sadness": 3, "neutral": n - 6}, n_new, n_blocks)
    assert why_not_yet(human, human) == missing
    # Among many of the group's it is these that are told of.
    many = Tally({"neutral": 239}, 239, 44)
    assert why_not_yet(many, human) == (None if missing is None else "239 of 240 samples")


def test_people_are_counted_apart(tmp_path: Path) -> None:
    """Three stretches of what people said among what the group did; new since the mark is what was said after it."""
    with opened(tmp_path) as buffer:
        for second in range(40):
            buffer.add(second, features(), group())
        buffer.mark()
        for second, emotion in ((3, "anger"), (4, "anger"), (5, "fear"), (30, "fear")):
            buffer.add(second, features(), Label.of(emotion, Origin.CORRECTION))
        human = buffer.counts().human
        assert (human.n, human.n_new, human.n_blocks) == (4, 4, 3)
        assert {name: n for name, n in human.of_class.items() if n} == {"anger": 2, "fear": 2}
        buffer.mark()
        assert buffer.counts().human.n_new == 0


WRITER = """
import os, sys
from pathlib import Path
import numpy as np
from models.personal.basis import Basis
from models.personal.buffer import Buffer, Features, Label
from models.personal.samples import Origin
from pipeline.emotions import EMOTIONS

def write():
    with Buffer(Path(sys.argv[1]), basis=Basis("a" * 64, "b" * 64, 8, 8), max_samples=60) as buffer:
        samples = buffer.samples()
        second = int(samples.time_s[-1]) + 1 if len(samples) else 0
        while True:
            ones = np.full(8, second % 1000, dtype=np.float32)
            label = Label(np.eye(7)[second // 7 % 7], 1.0, Origin.GROUP)
            buffer.add(second, Features(ones, ones, np.full(51, second, dtype=np.float32), 0.5), label)
            if second % 50 == 0 and second < 500:  # what people said fills the buffer otherwise, and new seconds go
                buffer.relabel(second, second, Label.of(EMOTIONS[second // 7 % 7], Origin.SHEET))
            os.write(1, f"{second}\\n".encode())
            second += 1

# One process loads numpy, and forks a writer for each line: it is the writers that are killed.
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        os.write(1, f"{os.getpid()}\\n".encode())
        write()
    os.waitpid(pid, 0)
    os.write(1, b"over\\n")
"""


def test_kill_9_at_any_moment_loses_nothing_that_was_added(tmp_path: Path) -> None:
    """Thirty times at random moments: the file is whole, within its bound, and the last second confirmed is there."""
    moments = random.Random(6)  # noqa: S311 (when to kill)
    last = -1
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        for _ in range(30):
            nursery.stdin.write("next\n")
            pid = int(nursery.stdout.readline())
            confirmed = [int(nursery.stdout.readline())]
            time.sleep(moments.uniform(0, 0.05))
            os.kill(pid, signal.SIGKILL)
            confirmed += [int(line) for line in iter(nursery.stdout.readline, "over\n")]
            last = look_at_what_is_left(tmp_path, last, confirmed)
        nursery.stdin.close()
    assert last > 200


def look_at_what_is_left(folder: Path, last: int, confirmed: list[int]) -> int:
    """The last second in the buffer of a writer that was killed, when all is as it should be."""
    [path] = folder.glob("samples-*.sqlite")
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    with opened(folder, max_samples=60) as buffer:
        samples, counts = buffer.samples(), buffer.counts()
        assert buffer.notices == ()
    assert confirmed == list(range(last + 1, confirmed[-1] + 1))
    assert samples.time_s[-1] - confirmed[-1] in (0, 1)
    assert counts.n == len(samples) == min(60, int(samples.time_s[-1]) + 1)
    assert np.array_equal(samples.pixel[:, 0], samples.time_s % 1000)
    assert np.array_equal(samples.interpretable[:, 50], samples.time_s)
    assert np.array_equal(samples.label, samples.time_s.astype(int) // 7 % 7)
    return int(samples.time_s[-1])
