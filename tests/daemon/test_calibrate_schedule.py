"""Schedules of calibrations: the default one, files, and everything that can be wrong with these."""

from collections import Counter
from pathlib import Path

import pytest

from config.sections import TriggerSection
from daemon.calibrate_schedule import SHOW_S, default_schedule, read_schedule
from daemon.errors import UnusableInputError
from models.personal.samples import Origin
from pipeline.emotions import EMOTIONS

HEAD = "stimulus,file,label,valence,arousal,seconds\n"


def written(folder: Path, text: str, name: str = "s.csv") -> Path:
    """A schedule in a file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_default_shows_each_expression_in_each_round() -> None:
    """In orders that differ, with a rest between any two; and it is long enough for what a training asks for."""
    schedule = default_schedule()
    shown = [EMOTIONS[int(step.label.target.argmax())] for step in schedule.steps if step.label is not None]
    rounds = [tuple(shown[k : k + 7]) for k in range(0, len(shown), 7)]
    assert all(sorted(of_one) == sorted(EMOTIONS) for of_one in rounds)
    assert len(set(rounds)) == len(rounds)
    assert all(a.label is None or b.label is None for a, b in zip(schedule.steps, schedule.steps[1:], strict=False))
    trigger, settle_s = TriggerSection(), 2
    assert min(Counter(shown).values()) * (SHOW_S - settle_s) >= trigger.n_of_class
    assert len(shown) * (SHOW_S - settle_s) >= trigger.n_samples
    assert schedule.seconds / 10 >= trigger.n_blocks


def test_a_table_becomes_steps(tmp_path: Path) -> None:
    """Words for classes in any form, valence and arousal, a file beside the table, and a rest."""
    (tmp_path / "clip.mp4").write_bytes(b"")
    text = HEAD + "a joke,,Happy,,,5\n,clip.mp4,,0.81,0.51,2.5\nrest,,,,,3\n\n"
    schedule = read_schedule(written(tmp_path, text))
    joke, clip, rest = schedule.steps
    assert (joke.words, joke.file, EMOTIONS[int(joke.label.target.argmax())]) == ("a joke", None, "happiness")
    assert (joke.label.confidence, joke.label.origin) == (1.0, Origin.CALIBRATION)
    assert (clip.words, clip.file) == ("clip.mp4", tmp_path / "clip.mp4")
    assert clip.label.target[EMOTIONS.index("happiness")] > 0.95
    assert clip.label.confidence < 1
    assert rest.label is None
    assert schedule.begins == (0.0, 5.0, 7.5, 10.5)


def test_yaml_and_semicolons_say_the_same(tmp_path: Path) -> None:
    """Whatever somebody's programs write."""
    (tmp_path / "clip.mp4").write_bytes(b"")
    tables = [
        read_schedule(written(tmp_path, "stimulus;label;seconds\na, b;anger;5\n")),
        read_schedule(written(tmp_path, "- {stimulus: 'a, b', label: anger, seconds: 5}\n", "s.yaml")),
    ]
    for table in tables:
        [step] = table.steps
        assert (step.words, step.seconds, int(step.label.target.argmax())) == ("a, b", 5.0, 0)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("s.csv", HEAD + "a,,bored,,,5\n", "line 2: label: expected one of"),
        ("s.csv", HEAD + "a,,anger,0.1,0.1,5\n", "valence and arousal instead"),
        ("s.csv", HEAD + "a,,,1,-1,5\n", "line 2: valence 1 with arousal -1 is no mixture"),
        ("s.csv", HEAD + "a,,,1,,5\n", "line 2: valence, arousal"),
        ("s.csv", HEAD + "a,,anger,,,0\n", "line 2: seconds: expected"),
        ("s.csv", HEAD + "a,,anger,,,nan\n", "line 2: seconds: expected"),
        ("s.csv", HEAD + ",,anger,,,5\n", "give a stimulus"),
        ("s.csv", HEAD + ",none.mp4,anger,,,5\n", "there is no file"),
        ("s.csv", HEAD + "a, b,,anger,,,5\n", "more cells than columns"),
        ("s.csv", "stimulus,label,secs\na,anger,5\n", "'secs' is no column"),
        ("s.csv", HEAD + "rest,,,,,5\n", "nothing to record"),
        ("s.csv", HEAD, "has 0 steps"),
        ("s.csv", HEAD + 'a,,"ang\n', "is not CSV"),
        ("s.yaml", "a: 1", "expected a list"),
        ("s.yaml", "- [", "is not YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, name: str, text: str, told: str) -> None:
    """In one line."""
    with pytest.raises(UnusableInputError) as caught:
        read_schedule(written(tmp_path, text, name))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    """Missing, binary, far too large."""
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "l.csv").write_text("x" * (1 << 21))
    for name, told in (("a.csv", "cannot be read"), ("b.csv", "not UTF-8"), ("l.csv", "larger than")):
        with pytest.raises(UnusableInputError, match=told):
            read_schedule(tmp_path / name)
