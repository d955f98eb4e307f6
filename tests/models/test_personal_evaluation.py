"""Generic against personal: divisions in time, what is left out, and figures on made-up people."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from models.evaluation.affect import evaluate_affect
from models.evaluation.contest import Known, contest, drawn_evenly
from models.evaluation.curves import learning_curves
from models.evaluation.folds import Fold, chosen, inner_folds, last_of_each_class, rolling_origin
from models.evaluation.personal import (
    Material,
    classes_of,
    default_enough,
    evaluate_personal,
    everybody_else,
    of_subject,
    reasons,
)
from models.personal.catalogue import LEARNERS
from models.personal.heads import Arm, Arms, DenseHead
from models.personal.samples import Origin, Samples

pytestmark = pytest.mark.timeout(180)  # five learners, nested validation

D = 6


def small_head(seed: int = 0) -> DenseHead:
    """A head of random numbers."""
    rng = np.random.default_rng(seed)
    return DenseHead(*(rng.normal(scale=0.5, size=s).astype(np.float32) for s in ((5, D), (5,), (7, 5), (7,))))


ARMS = Arms(Arm(small_head(0), 1.0, 1.0), Arm(small_head(1), 1.0, 1.0))


def people(n_people: int = 3, n: int = 30, classes: tuple[int, ...] = (3, 6), seed: int = 0) -> Material:
    """People whose faces lie around centres of their own, a row a sample, a group a row."""
    rng = np.random.default_rng(seed)
    total = n_people * n
    label = np.array(classes)[np.arange(total) % len(classes)]
    who = np.arange(total) // n
    centres = rng.normal(size=(n_people, 7, D))
    of_51 = rng.normal(scale=4, size=(7, 51))
    order = np.tile(np.arange(n, dtype=np.float64), n_people)
    samples = Samples(
        time_s=order.copy(),
        pixel=(centres[who, label] + 0.2 * rng.normal(size=(total, D))).astype(np.float32),
        landmark=(-centres[who, label] + 0.2 * rng.normal(size=(total, D))).astype(np.float32),
        interpretable=(of_51[label] + 10 * who[:, None] + rng.normal(size=(total, 51))).astype(np.float32),
        target=np.eye(7)[label],
        confidence=np.ones(total),
        quality=np.ones(total),
        origin=np.full(total, Origin.SHEET, dtype=np.uint8),
    )
    group = np.array([f"g{k}" for k in range(total)])
    names = np.array([f"s{k}" for k in who])
    return Material(samples, names, group, order, np.arange(total), np.full((total, 2), np.nan))


def test_rolling_origin_worked_by_hand() -> None:
    """Ten moments in five blocks of two: judged are the last three, each with all before; group `x` is in 3 and 4."""
    order = np.arange(10.0)
    group = np.array(["a", "b", "c", "x", "x", "f", "g", "h", "i", "j"])
    folds = list(rolling_origin(order, group, np.arange(10) % 2))
    assert [(f.earlier.tolist(), f.later.tolist()) for f in folds] == [
        ([0, 1, 2], [4, 5]),
        ([0, 1, 2, 3, 4, 5], [6, 7]),
        ([0, 1, 2, 3, 4, 5, 6, 7], [8, 9]),
    ]


def test_few_moments_are_blocks_of_their_own() -> None:
    """Takes 1, 2, 3 of two classes: two folds; the first class alone is nothing to learn from."""
    order = np.array([1.0, 1, 2, 2, 3, 3])
    group = np.array(list("abcdef"))
    found = [(f.earlier.tolist(), f.later.tolist()) for f in rolling_origin(order, group, np.array([0, 1, 0, 1, 0, 1]))]
    assert found == [([0, 1], [2, 3]), ([0, 1, 2, 3], [4, 5])]
    assert list(rolling_origin(order[:2], group[:2], np.array([0, 1]))) == []
    one_class = list(rolling_origin(order, group, np.array([0, 0, 0, 1, 0, 1])))
    assert [f.earlier.tolist() for f in one_class] == [[0, 1, 2, 3]]


def test_the_last_take_of_each_class() -> None:
    """Class 0 has takes 1 and 2, class 1 takes 1 to 3, class 2 one only: judged are 0's second and 1's third."""
    order = np.array([1.0, 2, 1, 2, 3, 1])
    label = np.array([0, 0, 1, 1, 1, 2])
    (fold,) = last_of_each_class(order, np.array(list("abcdef")), label)
    assert (fold.earlier.tolist(), fold.later.tolist()) == ([0, 2, 3, 5], [1, 4])
    assert list(last_of_each_class(order[:2], np.array(list("ab")), label[:2])) == []


def test_inner_folds_keep_groups_and_classes() -> None:
    """Of eight groups of two rows each group is left out once, as a whole; of too few there are none."""
    label, group = np.repeat([0, 0, 0, 0, 1, 1, 1, 1], 2), np.repeat(np.arange(8), 2)
    folds = inner_folds(label, group, seed=0)
    assert sorted(np.concatenate([fold.later for fold in folds]).tolist()) == list(range(16))
    assert all(not set(group[fold.earlier]) & set(group[fold.later]) for fold in folds)
    assert inner_folds(np.array([0, 1]), np.array([0, 1]), seed=0) == []


def test_the_better_candidate_is_chosen() -> None:
    """By log-loss, a class counting alike however rare; the first where there is nothing to choose by."""
    label = np.array([0, 0, 0, 1])
    folds = [Fold(np.array([2, 3]), np.array([0, 1])), Fold(np.array([0, 1]), np.array([2, 3]))]

    def says(share: float, fold: Fold) -> np.ndarray:
        return np.tile([share, 1 - share], (len(fold.later), 1))

    # Of three zeros and a one the plain optimum is 0.75; counted alike it is 0.5.
    assert chosen((0.75, 0.5, 0.25), says, label, folds) == 0.5
    assert chosen((0.75, 0.5), says, label, []) == 0.75
    assert chosen((0.75,), says, label, folds) == 0.75


def test_draws_are_even() -> None:
    """200 of one class and 40 of another: 40 each; 5 of the rarest: 20 of the other."""
    label = np.repeat([3, 6], [200, 40])
    classes = np.isin(np.arange(7), [3, 6])
    assert np.bincount(label[drawn_evenly(label, classes, seed=0)])[[3, 6]].tolist() == [40, 40]
    assert np.bincount(label[:205][drawn_evenly(label[:205], classes, seed=0)])[[3, 6]].tolist() == [20, 5]


@pytest.mark.parametrize("learner", LEARNERS)
def test_each_learner_on_people_of_their_own_kind(learner: str) -> None:
    """People whose expressions are unlike those that the generic heads know: personal models are better or as good."""
    told: list[tuple[str, int, int]] = []
    result = evaluate_personal(people(2), [learner], ARMS, progress=lambda *step: told.append(step))
    assert told[-1] == ("people and learners", 2, 2)
    assert list(result["subjects"]) == ["s0", "s1"]
    assert result["classes"]["s0"] == ["happiness", "neutral"]
    figures = result["subjects"]["s0"][learner]
    assert set(figures["generic"]) == set(figures["personal"]) == {"f1", "uar", "auc", "accuracy", "n"}
    # Of 30 moments the last three of five blocks are judged.
    assert figures["personal"]["n"] == 18
    assert figures["conditions"]["transfer_0"] == figures["generic"]
    assert (figures["conditions"]["no_transfer"] is None) == (learner == "offset")
    assert figures["personal"]["uar"] >= (figures["generic"]["uar"] if learner == "offset" else 0.9)
    found = result["summary"][learner]
    assert (found["n_subjects"], found["worse"], found["significantly_worse"]) == (2, 0, [])
    assert (result["min_per_class"], result["split"], result["excluded"]) == (10, "rolling", [])


def test_a_mean_gain_is_that_of_its_subjects() -> None:
    """Mean, counts and sums of the summary are those of the table."""
    result = evaluate_personal(people(), ["head"], ARMS)
    of = [figures["head"] for figures in result["subjects"].values()]
    found = result["summary"]["head"]
    assert_allclose(found["mean_gain"], np.mean([f["personal"]["uar"] - f["generic"]["uar"] for f in of]))
    assert (found["won"], found["lost"]) == (sum(f["won"] for f in of), sum(f["lost"] for f in of))
    low, high = found["mean_gain_ci95"]
    assert low <= found["mean_gain"] <= high


def test_the_same_seed_gives_the_same_result() -> None:
    """To the last digit."""
    first, second = (evaluate_personal(people(2), ["random-forest"], ARMS, seed=4) for _ in range(2))
    assert first == second


def test_a_row_of_several_samples_is_judged_once() -> None:
    """Three samples a row: a third of the samples are judged."""
    data = people(1, n=90)
    data = replace(data, row=np.arange(90) // 3, order=np.arange(90.0) // 3, group=(np.arange(90) // 3).astype(str))
    target = np.eye(7)[np.where(data.row % 2, 3, 6)]
    data = replace(data, samples=replace(data.samples, target=target))
    result = evaluate_personal(data, ["head"], ARMS)
    assert result["subjects"]["s0"]["head"]["personal"]["n"] == 18
    assert classes_of(data, "s0", 15).sum() == 2
    assert classes_of(data, "s0", 16).sum() == 0


def test_what_is_left_out_is_said() -> None:
    """One class only, no pictures, nobody else, nothing later: each with its reason, none in the table."""
    one_class = people(1, classes=(3,))
    found = evaluate_personal(one_class, ["head"], ARMS)
    assert found["excluded"] == [{"what": "s0", "reason": "too few: fewer than two classes of 2 rows", "n": 30}]
    assert found["summary"]["head"]["mean_gain"] is None
    assert reasons(found["excluded"]) == {"too few": 1}
    alone = people(1)
    blind = replace(alone, samples=replace(alone.samples, pixel=np.full((30, D), np.nan, np.float32)))
    found = evaluate_personal(blind, ["head", "knn"], ARMS)
    assert [line["reason"] for line in found["excluded"]] == [
        "no pictures, only features",
        "nobody else shows these classes",
    ]
    at_once = evaluate_personal(replace(alone, order=np.zeros(30)), ["head"], ARMS)
    assert at_once["excluded"][0]["reason"] == "nothing later to judge after two classes were seen"
    label = np.where(np.arange(30) < 12, np.arange(30) % 2 * 3 + 3, 6)
    ends = replace(alone, samples=replace(alone.samples, target=np.eye(7)[label]))
    found = evaluate_personal(ends, ["head"], ARMS, min_per_class=5)
    assert [line["reason"] for line in found["excluded"]] == ["what is later shows one class only"]


def test_ten_rows_of_a_class_are_enough_or_two_where_nobody_has_ten() -> None:
    """Fifteen rows of each class; three rows of each."""
    assert default_enough(people(2)) == 10
    assert default_enough(people(2, n=6)) == 2


def test_nobody_knows_the_person_that_is_judged() -> None:
    """The pool holds others only, of these classes only, each around 0 against their own resting face."""
    data = people(3)
    pool = everybody_else(data, "s1", np.isin(np.arange(7), [3, 6]), "knn", 0)
    assert pool is not None
    assert set(pool.group.tolist()) == {"s0", "s2"}
    assert np.abs(np.median(pool.samples.interpretable[:, :33])) < 3
    assert everybody_else(data, "s1", np.isin(np.arange(7), [3, 5]), "knn", 0) is None
    assert everybody_else(data, "s1", np.isin(np.arange(7), [3, 6]), "head", 0) is None


def test_answers_stay_within_the_persons_classes() -> None:
    """Whatever the learner and the condition."""
    data = people(2)
    classes = np.isin(np.arange(7), [3, 6])
    own = of_subject(data, "s0", classes)
    earlier, later = own.take(np.arange(20)), own.take(np.arange(20, 30))
    for learner in LEARNERS:
        others = everybody_else(data, "s0", classes, learner, 0)
        answers = contest(learner, ARMS)(Known(earlier.samples, earlier.group), later.samples, others, classes, 0)
        for p in answers.values():
            assert_allclose(p.sum(axis=1), 1)
            assert p[:, ~classes].max() == 0


def test_ratings_are_judged_later_than_learnt() -> None:
    """Ratings that follow the features: the error falls; who has too few, or no pictures, is left out."""
    data = people(3)
    data = replace(data, ratings=(0.5 * np.tanh(data.samples.pixel[:, :2].astype(np.float64)) - 0.2).clip(-1, 1))
    found = evaluate_affect(data, ARMS)
    for of in found["subjects"].values():
        assert set(of) == {"no_transfer", "transfer_0", "transfer_100"}
        assert of["transfer_100"]["valence"]["n"] == 18
        assert of["transfer_100"]["valence"]["rmse"] < of["transfer_0"]["valence"]["rmse"]
    assert found["summary"]["arousal"]["n_subjects"] == 3
    few = evaluate_affect(data.take(np.arange(4)), ARMS)
    assert (few["subjects"], few["excluded"][0]["n"], few["summary"]["valence"]["mean_gain"]) == ({}, 4, None)


def test_curves_end_where_everything_is_learnt() -> None:
    """With all samples every method has the same gain; enough is the first point that keeps 95 % of it."""
    found = learning_curves(people(2), ARMS, methods=("random", "gsx", "gsy", "igs", "mcdue"))
    ends = {round(of["curve"][-1]["gain"], 9) for of in found.values()}
    assert len(ends) == 1
    for of in found.values():
        gains = [point["gain"] for point in of["curve"]]
        at = [point["fraction"] for point in of["curve"]].index(of["enough"]["fraction"])
        assert all(gain >= 0.95 * gains[-1] for gain in gains[at:])
        assert of["n_subjects"] == 2
        # The mean of 12, 18 and 24 earlier samples.
        assert of["curve"][-1]["samples"] == 18


def test_no_curve_without_people() -> None:
    """Who cannot be judged, or has no pictures, has none."""
    data = people(1)
    blind = replace(data, samples=replace(data.samples, pixel=np.full((30, D), np.nan, np.float32)))
    for nobody in (blind, replace(data, order=np.zeros(30))):
        assert learning_curves(nobody, ARMS, methods=("gsx",)) == {
            "gsx": {"curve": [], "enough": None, "n_subjects": 0}
        }


@pytest.mark.parametrize("split", ["rolling", "last"])
def test_both_splits(split: str) -> None:
    """`last` judges one group of each class."""
    result = evaluate_personal(people(1), ["head"], ARMS, split=split)
    assert result["subjects"]["s0"]["head"]["personal"]["n"] == (18 if split == "rolling" else 2)
