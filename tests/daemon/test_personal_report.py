"""`attuned models report`: one page of one person, with what was learnt, what it is worth, and what was refused."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from config.settings import Settings
from daemon.catalogue import basis_of, people_of
from daemon.cli import app
from daemon.report.personal_drawn import NAMES
from daemon.report.portrait import portrait_of
from models.personal.attempts import Attempt, note_attempt
from models.personal.buffer import Buffer, Features, Label
from models.personal.catalogue import make_learner
from models.personal.heads import generic_arms
from models.personal.people import HEADS
from models.personal.samples import Origin
from models.personal.store import Store
from pipeline.emotions import EMOTIONS

pytestmark = pytest.mark.timeout(240)
WHO = "p-0000ca11"
START_S = 1_800_000_000.0
CLASSES = [EMOTIONS.index(name) for name in ("happiness", "sadness", "neutral")]

Fill = Callable[[int], Settings]


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """Samples of somebody whose three expressions lie apart, in blocks of four seconds, nearly all from the group."""

    def filled(n: int) -> Settings:
        settings = Settings(state_dir=tmp_path / "state")
        rng = np.random.default_rng(0)
        means = rng.normal(0, 1, (7, 256))
        people, basis = people_of(settings), basis_of(settings)
        with Buffer(people.folder(WHO), basis=basis) as buffer:
            for k in range(n):
                c = CLASSES[k // 4 % 3]
                pixel, landmark = ((means[c] + rng.normal(0, 0.3, 256)).astype(np.float32) for _ in range(2))
                face = Features(pixel, landmark, rng.normal(c, 1, 51).astype(np.float32), 0.8)
                label = Label(0.9 * np.eye(7)[c] + 0.1 / 7, 0.8, Origin.GROUP if k % 60 else Origin.CALIBRATION)
                buffer.add(START_S + k, face, label)
        note_attempt(people.folder(WHO), Attempt(START_S, "head", None, ("<b>too few</b>",), 30, 20, (), None))
        return settings

    return filled


def invoke(folder: Path, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command whose state is in the folder."""
    done = CliRunner().invoke(app, ["models", *map(str, arguments)], env={"ATTUNED_STATE_DIR": str(folder / "state")})
    return done.exit_code, done.stdout, done.stderr


def test_the_whole_report(tmp_path: Path, fill: Fill) -> None:
    """Self-contained, every figure as PNG with its data, nothing executable from outside, the rejected attempt with its reason."""
    fill(410)
    out = tmp_path / "report"
    code, _, err = invoke(tmp_path, "report", WHO, "--out", out)
    assert code == 0, err
    page = (out / "personal.html").read_text()
    assert page.count("data:image/png;base64,") == len(NAMES)
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "&lt;b&gt;too few&lt;/b&gt;" in page
    assert "No personal head reads this person" in page
    assert len(page) < 4_000_000
    for name in NAMES:
        assert (out / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    before_after = pl.read_parquet(out / "figures" / "before_after.parquet")
    sums = before_after.select(pl.sum_horizontal(f"personal_{name}" for name in EMOTIONS)).to_series()
    assert np.allclose(sums, 1)
    assert pl.read_parquet(out / "figures" / "feature_correlation.parquet").height == 51 * 51
    curves = pl.read_parquet(out / "figures" / "curves.parquet")
    assert set(curves["method"]) == {"random", "gsx", "gsy", "igs", "mcdue"}
    assert (curves["fraction"].min(), curves["fraction"].max()) == (0.05, 1.0)
    # What is there is not replaced unasked.
    assert invoke(tmp_path, "report", WHO, "--out", out)[0] == 2
    assert (out / "personal.html").read_text() == page


@pytest.fixture
def without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take long, and have a test of their own."""
    monkeypatch.setattr("daemon.report.portrait.curves_of", lambda *_, **__: {})


@pytest.mark.usefixtures("without_curves")
def test_what_is_judged_is_later_than_what_was_learnt(fill: Fill) -> None:
    """By the gate's gap at least; and the generic head is what the shipped models say."""
    portrait = portrait_of(fill(480), WHO)
    found = portrait.before_after
    assert found is not None
    times = portrait.samples.time_s
    assert found.verdict.n_trained + len(found.time_s) < len(times)
    assert found.time_s[0] - times[found.verdict.n_trained - 1] > 10
    later = portrait.samples.take(portrait.samples.time_s >= found.time_s[0])
    assert np.allclose(found.generic, generic_arms().predict_proba(later))
    assert portrait.serves == "generic"


@pytest.mark.usefixtures("without_curves")
def test_the_head_that_serves_is_what_is_shown(tmp_path: Path, fill: Fill) -> None:
    """On nothing but what is later than it."""
    settings = fill(480)
    people, basis = people_of(settings), basis_of(settings)
    with Buffer(people.folder(WHO), basis=basis) as buffer:
        samples = buffer.samples()
    cut_s = START_S + 200
    learner = make_learner("head", generic_arms())
    learner.fit(samples.take(samples.time_s <= cut_s), 0)
    candidate = tmp_path / "candidate.head"
    learner.save(candidate)
    from hashlib import sha256  # noqa: PLC0415

    Store(people.folder(WHO) / HEADS, basis=basis.key).promote(
        candidate,
        sha256(candidate.read_bytes()).hexdigest(),
        learner="head",
        created_s=cut_s,
        trained_until_s=cut_s,
        classes=("happiness", "sadness", "neutral"),
        verdict={},
    )
    portrait = portrait_of(settings, WHO)
    found = portrait.before_after
    assert found is not None
    assert (portrait.serves, found.name, found.serves) == ("personal-1", "personal-1", True)
    assert found.time_s.min() > cut_s + 10
    assert np.allclose(found.personal, learner.predict_proba(samples.take(samples.time_s > cut_s + 10)), atol=1e-5)
    code, _, err = invoke(tmp_path, "report", WHO, "--out", tmp_path / "report")
    assert code == 0, err
    assert "reads this person now" in (tmp_path / "report" / "personal.html").read_text()


def test_with_little_there_is_less(tmp_path: Path, fill: Fill) -> None:
    """It says why nothing can be compared, and draws what can be drawn."""
    fill(40)
    code, _, err = invoke(tmp_path, "report", WHO, "--out", tmp_path / "report")
    assert code == 0, err
    page = (tmp_path / "report" / "personal.html").read_text()
    assert "Nothing can be compared yet: samples in" in page
    drawn = {path.stem for path in (tmp_path / "report" / "figures").glob("*.png")}
    assert drawn == {"components", "feature_correlation", "importances"}


def test_whom_nothing_is_known_of(tmp_path: Path, fill: Fill) -> None:
    """Exit code 2 and one line, and nothing is written."""
    fill(5)
    for who, told in (("p-00000000", "nothing is kept"), (WHO, "too few for a report"), ("Anna", "eight hexadecimal")):
        code, out, err = invoke(tmp_path, "report", who, "--out", tmp_path / "report")
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert told in err
    assert not (tmp_path / "report").exists()
