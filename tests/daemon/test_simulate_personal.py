"""`attuned simulate --personal`: labels, what heads read, what is judged, and figures worked by hand."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from daemon.personal_files import PersonalSettings
from daemon.simulate.bank import Bank, load_bank
from daemon.simulate.labelled import NO_FACE, Heard, Material, Told, hear, material_of
from daemon.simulate.observe import observe
from daemon.simulate.params import Params, load_params
from daemon.simulate.personal import (
    CALLS,
    NOISE,
    SCENARIOS,
    Outcome,
    as_told,
    correlation,
    everything,
    gain_interval,
    masks,
    measure_call,
    noisy,
    outcome,
    true,
)
from daemon.simulate.personal_course import GENERIC, learn, taught, workshop
from daemon.simulate.personal_figures import (
    figures_of,
    format_personal_simulation,
    run_personal_simulation,
    simulate_personal,
)
from daemon.simulate.steps import ALL
from daemon.simulate.timeline import Plan
from daemon.simulate.world import NOBODY, World, make_world
from daemon.trainer import TrainerSettings
from models.personal.gate import GateSettings
from models.personal.learners import OffsetLearner
from models.personal.monitor import MonitorSettings
from models.personal.serving import served
from models.personal.trigger import TriggerSettings
from pipeline.emotions import EMOTIONS

SEED = 9
RNG = np.random.default_rng(0)
QUICK = PersonalSettings(
    trigger=TriggerSettings(n_samples=40, n_classes=2, n_of_class=5, n_new=20, n_blocks=20),
    trainer=TrainerSettings(gate=GateSettings(block_s=4.0, n_blocks=8, gap_s=2.0, n_of_class=3, n_resamples=100)),
)


@cache
def bank() -> Bank:
    """The shipped one."""
    return load_bank()


@cache
def params() -> Params:
    """Five minutes of seven members."""
    values = load_params().model_dump()
    values["call"]["seconds"] = 300
    values["members"]["number"] = (7, 7)
    return Params.model_validate(values)


@cache
def call() -> tuple[World, Heard]:
    """A homogeneous call, and what the engine says of it."""
    plan = Plan(types=("homogeneous",), resting="sadness", everybody_stays=True)
    world = make_world(params(), bank(), SEED, plan)
    return world, hear(world, ALL)


@cache
def material() -> Material:
    """Of the first member, whose face looks sad at rest."""
    return material_of(*call(), 0, bank(), params())


def test_the_engine_says_what_it_always_says() -> None:
    """The same labels and readings as `attuned simulate` measures, and a label never comes before its second is over."""
    world, heard = call()
    said = observe(world, ALL)
    top = np.where(np.isnan(heard.generic).any(axis=2), NOBODY, np.nan_to_num(heard.generic).argmax(axis=2))
    assert (top == said.top).all()
    label = np.full(world.felt.shape, NOBODY)
    for member, of_one in enumerate(heard.labels):
        for told in of_one:
            assert told.second <= told.at
            label[member, told.second] = told.target.argmax()
    assert (label == said.label).all()
    assert (label != NOBODY).sum() > 100


def test_a_head_that_changes_nothing_reads_as_the_generic_one() -> None:
    """Second by second what the pipeline itself makes of the frames: means by quality, the same weights of the arms."""
    own = material()
    still = OffsetLearner(workshop(QUICK).generic)
    still.offset_ = np.zeros(7)
    reads = own.read_by(served(still, "personal-1", workshop(QUICK).generic))
    known = np.isfinite(own.generic).all(axis=1)
    assert known.sum() > 200
    assert reads[known] == pytest.approx(own.generic[known], abs=1e-5)
    assert np.isnan(reads[~known]).all()


def test_the_best_frame_of_a_second_is_the_first_of_the_best() -> None:
    """No other frame of the second has a better quality, and a second without a face has none."""
    own = material()
    for second, row in enumerate(own.best.tolist()):
        here = np.flatnonzero(own.second == second)
        assert (row == NO_FACE) if not len(here) else (row == here[own.quality[here].argmax()])


def test_labels_are_told_truly_and_wrongly() -> None:
    """True ones are the truth; of noisy ones the share that was promised is of another class, and sums stay one."""
    own = material()
    assert as_told(own, RNG) is own.labels
    assert all(told.target[own.felt[told.second]] == 1 for told in true(own, RNG))
    turned = [noisy(own, np.random.default_rng(seed)) for seed in range(10)]
    wrong = [
        a.target.argmax() != b.target.argmax() for labels in turned for a, b in zip(labels, own.labels, strict=True)
    ]
    assert np.mean(wrong) == pytest.approx(NOISE, abs=0.05)
    assert all(told.target.sum() == pytest.approx(1) for told in turned[0])


def test_heads_come_of_labels_and_read_from_the_next_second_on(tmp_path: Path) -> None:
    """Until a head is promoted everything is as the generic heads say; after it what the head says; never in between."""
    own = material()
    course = learn(own, true(own, RNG), workshop(replace(QUICK, monitor=MonitorSettings(patience=1e9))), tmp_path)
    passed = [second for second, verdict in course.verdicts if verdict.passed]
    assert passed, [verdict.reasons for _, verdict in course.verdicts]
    assert not course.rolled_back
    assert (course.head[: passed[0] + 1] == GENERIC).all()
    assert (course.head[passed[0] + 1 :] > GENERIC).all()
    same = (course.shown == own.generic).all(axis=1) | np.isnan(own.generic).all(axis=1)
    assert same[: passed[0] + 1].all()
    assert not same[passed[0] + 1 :].all()


def test_a_head_is_taken_back_when_labels_turn_against_it(tmp_path: Path) -> None:
    """Good labels until a head is promoted, then what it says least of, beside the generic ones: these read again."""
    own = material()
    good = true(own, RNG)
    trusted = learn(own, good, workshop(replace(QUICK, monitor=MonitorSettings(patience=1e9))), tmp_path / "a")
    first = next(second for second, verdict in trusted.verdicts if verdict.passed)
    against = np.nan_to_num(own.generic - trusted.shown).argmax(axis=1)
    turned = tuple(
        replace(told, target=np.eye(7)[against[told.second]]) if told.second > first else told for told in good
    )
    shop = workshop(replace(QUICK, monitor=MonitorSettings(block_s=2.0, limit=0.2, patience=2.0)))
    course = learn(own, turned, shop, tmp_path / "b")
    assert course.rolled_back
    after = course.rolled_back[0] + 1
    assert course.head[after] == GENERIC
    assert np.array_equal(course.shown[after], own.generic[after], equal_nan=True)


def test_the_later_half_is_judged_on_the_truth(tmp_path: Path) -> None:
    """Worked on a member whose head says the truth itself in the later half: everything right, correlation 1."""
    own = material()
    course = learn(own, (), workshop(QUICK), tmp_path)
    nothing = outcome(own, (), course, 0)
    assert (nothing.accuracy[0], nothing.correlation[0], nothing.low, nothing.high) == (
        nothing.accuracy[1],
        nothing.correlation[1],
        0.0,
        0.0,
    )
    assert (nothing.attempts, nothing.served, nothing.labels_right) == (0, 0.0, None)
    shown = own.generic.copy()
    shown[150:] = np.eye(7)[np.maximum(own.felt[150:], 0)]
    perfect = outcome(own, own.labels, replace(course, shown=shown), 0)
    assert perfect.accuracy == (nothing.accuracy[0], 1.0)
    assert perfect.correlation[1] == pytest.approx(1)
    late = (np.arange(300) >= 150) & (own.felt != NOBODY) & np.isfinite(own.generic).all(axis=1)
    assert perfect.n == late.sum()
    right = [own.felt[told.second] == told.target.argmax() for told in own.labels]
    assert perfect.labels_right == pytest.approx(np.mean(right))


def test_correlation_and_interval_are_worked_by_hand() -> None:
    """A class felt for fewer than ten seconds is left out, one that is read as standing still counts 0."""
    truth = np.repeat([0, 3, 6], [20, 20, 5])
    p = np.zeros((45, 7))
    p[:, 3] = np.repeat([0.1, 0.9, 0.1], [20, 20, 5])
    # Class 3 is followed perfectly, class 0 not at all.
    assert correlation(truth, p) == pytest.approx(0.5)
    assert np.isnan(correlation(np.zeros(30, dtype=np.int64), p[:30]))
    # Two blocks, gain 1 and 0: resamples have 1, a half or 0.
    assert gain_interval(np.repeat([1.0, 0.0], 30), np.repeat([0, 1], 30), 0) == (0.0, 1.0)
    assert gain_interval(np.full(60, 0.25), np.arange(60) // 6, 0) == (0.25, 0.25)


BASE = Outcome(
    seed=0,
    engaged=True,
    resting=False,
    n=100,
    labels=50,
    labels_right=0.9,
    attempts=2,
    promoted=1,
    rolled_back=0,
    served=0.5,
    accuracy=(0.5, 0.6),
    correlation=(0.5, 0.6),
    low=0.05,
    high=0.15,
    reasons=("log-loss 1 is not better than 2", "this face differs too little"),
)


def test_worse_is_surely_worse_by_a_point() -> None:
    """An interval that ends at -1 point is not wholly below it."""
    found = masks([BASE, replace(BASE, high=-0.01, low=-0.2), replace(BASE, high=-0.011, low=-0.2)])
    assert found["worse"].tolist() == [False, False, True]
    assert found["surely_better"].tolist() == [True, False, False]
    assert masks([replace(BASE, correlation=(0.5, 0.5), promoted=0)])["better"].tolist() == [False]


def test_figures_are_sums_over_members_with_intervals_over_calls() -> None:
    """Four members of two calls: three better, mean correlation 0.5 to 0.575, 15 % more; who follow are told apart."""
    worse = replace(BASE, engaged=False, correlation=(0.5, 0.5), accuracy=(0.5, 0.4), high=-0.05, promoted=0)
    result = figures_of([{"homogeneous": [BASE, BASE]}, {"homogeneous": [BASE, worse], "label_noise": [worse]}])
    told = result["scenarios"]["homogeneous"]
    whole = told["members"]
    assert (whole["n"], told["following"]["n"], told["resting"]["n"]) == (4, 3, 0)
    assert (whole["better"]["value"], whole["worse"]["value"], whole["promoted"]["value"]) == (0.75, 0.25, 0.75)
    assert whole["correlation_gain"]["value"] == pytest.approx(0.15)
    assert whole["better"]["ci95"] == [0.5, 1.0]
    assert (whole["better"]["reached"], whole["worse"]["reached"], whole["correlation_gain"]["reached"]) == (
        False,
        False,
        True,
    )
    assert told["following"]["better"]["value"] == 1.0
    assert "reached" not in told["following"]["better"]
    assert told["resting"]["better"]["value"] is None
    assert told["reasons"] == {"log-loss": 4, "this face": 4}
    assert len(told["each"]) == 4
    assert result["scenarios"]["label_noise"]["members"]["worse"]["reached"] is False
    text = format_personal_simulation(result | {"seeds": 2, "call_s": 60})
    assert "NOT reached" in text
    assert "homogeneous: 4 members, 3 follow the group" in text


def test_every_scenario_is_played_in_one_of_the_calls() -> None:
    """And every call is needed; one emotion is one whose others hardly come."""
    assert {scenario.call for scenario in SCENARIOS.values()} == set(CALLS)
    shares = SCENARIOS["one_emotion"].emotions
    assert shares is not None
    assert set(shares) == set(EMOTIONS)
    found = measure_call(params(), bank(), "one_emotion", 0, seconds=60)
    assert list(found) == ["one_emotion"]
    assert all(one.n <= 30 for one in found["one_emotion"])


def test_the_same_seeds_give_the_same_figures_whatever_the_number_of_processes(tmp_path: Path) -> None:
    """A minute of every call, by one process and by two; progress counts the calls."""
    file = tmp_path / "params.yaml"
    file.write_text("members: {number: [4, 4]}\n")
    progress: list[tuple[int, int]] = []
    one = simulate_personal(file, 1, 1, lambda over, total: progress.append((len(over), total)), seconds=60)
    two = simulate_personal(file, 1, 2, lambda *_: None, seconds=60)
    assert one == two
    assert progress[-1] == (len(CALLS), len(CALLS))
    assert (one["call_s"], one["seeds"], set(one["scenarios"])) == (60, 1, set(SCENARIOS))


def test_who_is_taught_the_truth_reads_from_the_middle_on() -> None:
    """One head, whatever a gate would say; nothing before it is changed, and without labels nothing at all."""
    own = material()
    course = taught(own, everything(own, RNG), workshop(QUICK))
    known = np.isfinite(own.generic).all(axis=1)
    assert course.n_samples == ((own.best != NO_FACE) & (own.felt != NOBODY))[:150].sum() > 100
    assert (course.head[:150] == GENERIC).all()
    assert (course.head[150:] == 1).all()
    assert np.array_equal(course.shown[:150], own.generic[:150], equal_nan=True)
    assert not np.isclose(course.shown[150:], own.generic[150:])[known[150:]].all()
    late = np.flatnonzero(known & (own.felt != NOBODY) & (np.arange(300) >= 150))
    given = [p[late, own.felt[late]].mean() for p in (own.generic, course.shown)]
    assert given[1] > given[0]
    untaught = taught(own, (), workshop(QUICK))
    assert np.array_equal(untaught.shown, own.generic, equal_nan=True)


def test_what_is_done_is_told_call_by_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each call on stderr, so that a run that is cut short leaves its counts behind; stdout stays empty."""
    file = tmp_path / "params.yaml"
    file.write_text("members: {number: [4, 4]}\n")
    run_personal_simulation(file, n_seeds=1, jobs=1, seconds=60)
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{n} of {len(CALLS)}" for n in range(1, len(CALLS) + 1)]
    assert "homogeneous seed 0: 0 promoted, 0 better, 0 worse of 4; " in lines[0]
    assert told.out == ""


def test_told_labels_are_frozen() -> None:
    """A label is a value."""
    with pytest.raises(AttributeError):
        Told(1, 0, np.zeros(7), 1.0).at = 2  # type: ignore[misc]
