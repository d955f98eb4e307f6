"""A learnt head as it answers in a call."""

from pathlib import Path

import numpy as np
from numpy.testing import assert_allclose

from models.personal.catalogue import load_learner, make_learner
from models.personal.heads import Arm, Arms, DenseHead
from models.personal.learners import OffsetLearner
from models.personal.samples import Origin, Samples
from models.personal.serving import served
from pipeline.types import Heads

D = 6


def small_head(seed: int) -> DenseHead:
    """A head of random numbers."""
    rng = np.random.default_rng(seed)
    return DenseHead(*(rng.normal(scale=0.5, size=s).astype(np.float32) for s in ((5, D), (5,), (7, 5), (7,))))


ARMS = Arms(Arm(small_head(0), 1.0, 1.0), Arm(small_head(1), 1.0, 1.0))


def person(n: int = 60) -> Samples:
    """Three expressions, one sample a minute."""
    rng, label = np.random.default_rng(0), np.array((0, 3, 6))[np.arange(n) % 3]
    centres, of_51 = rng.normal(size=(7, D)), rng.normal(scale=3, size=(7, 51))
    return Samples(
        time_s=np.arange(n) * 60.0,
        pixel=(centres[label] + rng.normal(scale=0.3, size=(n, D))).astype(np.float32),
        landmark=(-centres[label] + rng.normal(scale=0.3, size=(n, D))).astype(np.float32),
        interpretable=(of_51[label] + rng.normal(size=(n, 51))).astype(np.float32),
        target=np.eye(7)[label],
        confidence=np.ones(n),
        quality=np.ones(n),
        origin=np.full(n, Origin.SHEET, dtype=np.uint8),
    )


def test_an_offset_moves_both_arms() -> None:
    """Where it takes one class down by e, each arm's share of it is p/e over what is left."""
    learner = OffsetLearner(ARMS)
    learner.offset_ = np.array([1.0, 0, 0, 0, 0, 0, 0])
    faces = person(3)
    said = served(learner, "personal-1", ARMS).arms(faces.pixel, faces.landmark, faces.interpretable)
    assert said is not None
    for arm, generic in zip(said, (ARMS.pixel.pool(faces.pixel), ARMS.landmark.pool(faces.landmark)), strict=True):
        moved = generic * np.exp([-1.0, 0, 0, 0, 0, 0, 0])
        assert_allclose(arm, moved / moved.sum(axis=1, keepdims=True), atol=1e-12)


def test_a_tuned_head_says_what_was_judged(tmp_path: Path) -> None:
    """The mean of its two arms is what the gate saw, also out of its file."""
    faces = person()
    make_learner("head", ARMS).fit(faces).save(tmp_path / "h")
    learner = load_learner(tmp_path / "h", ARMS)
    head = served(learner, "personal-4", ARMS)
    said = head.arms(faces.pixel, faces.landmark, faces.interpretable)
    assert said is not None
    assert_allclose((said[0] + said[1]) / 2, learner.predict_proba(faces), atol=1e-6)
    assert (head.heads, head.reads_interpretable) == (Heads("personal-4", "personal-4"), False)


def test_one_answer_stands_for_both_arms() -> None:
    """Of what reads the interpretable features; where there are none, it has no answer."""
    faces = person()
    head = served(make_learner("knn", ARMS).fit(faces), "personal-2", ARMS)
    said = head.arms(faces.pixel[:2], faces.landmark[:2], faces.interpretable[:2])
    assert said is not None
    assert said[0] is said[1]
    assert said[0].argmax(axis=1).tolist() == [0, 3]
    assert head.reads_interpretable
    assert head.arms(faces.pixel[:1], faces.landmark[:1], np.full((1, 51), np.nan, np.float32)) is None
