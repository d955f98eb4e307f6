"""The five learners and the one of valence and arousal: what they learn, what they leave alone, and their files."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skops.io
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.svm import SVC

from models.errors import ModelError
from models.personal.affect import AffectLearner
from models.personal.catalogue import LEARNERS, load_learner, make_learner
from models.personal.classical import ClassicalLearner, ClassicalSettings
from models.personal.dense import Examples, FitSettings, _Problem
from models.personal.heads import Arm, Arms, DenseHead, generic_arms
from models.personal.learners import (
    KINDS,
    HeadLearner,
    Learner,
    OffsetLearner,
    Weighting,
    learner_arrays,
    write_learner,
)
from models.personal.samples import Origin, Samples
from pipeline.emotions import VALENCE_AROUSAL, softmax

D = 6


def small_head(seed: int = 0, d: int = D) -> DenseHead:
    """A head of random numbers."""
    rng = np.random.default_rng(seed)
    return DenseHead(*(rng.normal(scale=0.5, size=s).astype(np.float32) for s in ((5, d), (5,), (7, 5), (7,))))


ARMS = Arms(Arm(small_head(0), 1.0, 1.0), Arm(small_head(1), 1.0, 1.0))


def person(n: int = 60, seed: int = 0, classes: tuple[int, ...] = (0, 3, 6), noise: float = 0.3) -> Samples:
    """A person whose features lie around a centre for each class, one sample a minute."""
    rng = np.random.default_rng(seed)
    label = np.array(classes)[np.arange(n) % len(classes)]
    centres = np.random.default_rng(99).normal(size=(7, D))
    of_51 = np.random.default_rng(98).normal(scale=3, size=(7, 51))
    return Samples(
        time_s=np.arange(n) * 60.0,
        pixel=(centres[label] + rng.normal(scale=noise, size=(n, D))).astype(np.float32),
        landmark=(-centres[label] + rng.normal(scale=noise, size=(n, D))).astype(np.float32),
        interpretable=(of_51[label] + rng.normal(size=(n, 51))).astype(np.float32),
        target=np.eye(7)[label],
        confidence=np.ones(n),
        quality=np.ones(n),
        origin=np.full(n, Origin.SHEET, dtype=np.uint8),
    )


def right(learner: Learner, samples: Samples) -> float:
    """Share of the samples whose class it names."""
    return float((learner.predict_proba(samples).argmax(axis=1) == samples.label).mean())


@pytest.mark.parametrize("name", LEARNERS)
def test_each_learner_learns_and_comes_back_from_its_file(name: str, tmp_path: Path) -> None:
    """Better than before on new samples of the person; the file gives the same answers; the same seed the same learner."""
    learner = make_learner(name, ARMS).fit(person(), 1)
    new = person(seed=5)
    generic = float((ARMS.predict_proba(new).argmax(axis=1) == new.label).mean())
    assert right(learner, new) >= (generic if name == "offset" else 0.9)
    said = learner.predict_proba(new)
    assert_allclose(said.sum(axis=1), 1)
    path = tmp_path / "personal.head"
    learner.save(path)
    again = load_learner(path, ARMS)
    assert (again.name, [file.name for file in tmp_path.iterdir()]) == (name, ["personal.head"])
    assert_allclose(again.predict_proba(new), said, atol=1e-12)
    assert_array_equal(make_learner(name, ARMS).fit(person(), 1).predict_proba(new), said)


@pytest.mark.parametrize("name", LEARNERS)
def test_nothing_learnt_is_an_error(name: str, tmp_path: Path) -> None:
    """Neither answers nor a file before fit; no fit without a sample."""
    learner = make_learner(name, ARMS)
    for ask in (lambda: learner.predict_proba(person()), lambda: learner.save(tmp_path / "a")):
        with pytest.raises(ValueError, match="has not learnt yet"):
            ask()
    with pytest.raises(ValueError, match="no sample to learn from"):
        learner.fit(person().take(np.arange(0)), 0)


@pytest.mark.parametrize("name", LEARNERS)
def test_the_order_of_samples_is_that_of_time(name: str) -> None:
    """Shuffled samples give the same learner."""
    new = person(seed=5)
    shuffled = person().take(np.random.default_rng(0).permutation(60))
    assert_allclose(
        make_learner(name, ARMS).fit(shuffled, 1).predict_proba(new),
        make_learner(name, ARMS).fit(person(), 1).predict_proba(new),
        atol=1e-6,
    )


def test_offset_worked_by_hand() -> None:
    """One sample of weight 1, no prior: b is log p - log label, each smoothed by a tenth of 1/7, and at most 1.5."""
    one = person(1)
    p = 0.9 * ARMS.predict_proba(one)[0] + 0.1 / 7
    label = 0.9 * one.target[0] + 0.1 / 7
    learner = OffsetLearner(ARMS, prior=0.0).fit(one)
    assert learner.offset_ is not None
    assert_allclose(learner.offset_, np.clip(np.log(p) - np.log(label), -1.5, 1.5))
    moved = ARMS.predict_proba(one)[0] * np.exp(-learner.offset_)
    assert_allclose(learner.predict_proba(one)[0], moved / moved.sum())


def test_the_mean_of_the_offset_is_slow() -> None:
    """As much prior as samples halves it; with a half-life of one sample the last of many counts half."""
    same = person(20, classes=(3,), noise=0.0)
    whole, half = (OffsetLearner(ARMS, prior=prior, largest=99).fit(same).offset_ for prior in (0.0, 19.0))
    assert whole is not None
    assert half is not None
    weight = 0.5 ** (np.arange(20) / 300)
    assert_allclose(half, whole * weight.sum() / (weight.sum() + 19), rtol=1e-6)


def test_a_sample_counts_by_confidence_quality_origin_and_class() -> None:
    """Three samples: group's 0.5 x 0.8 x 0.03, a person's 1, 1; classes a, a, b with balance 1 share the sum evenly."""
    samples = replace(
        person(3),
        target=np.eye(7)[[0, 0, 3]],
        confidence=np.array([0.5, 1, 1]),
        quality=np.array([0.8, 1, 1]),
        origin=np.array([Origin.GROUP, Origin.CORRECTION, Origin.CALIBRATION], dtype=np.uint8),
    )
    assert_allclose(Weighting(balance=0).of(samples), [0.012, 1, 1])
    # 1.012 of a and 1 of b: each class gets half of 2.012, that of a in the ratio 0.012 to 1.
    assert_allclose(Weighting(balance=1).of(samples), [1.006 * 0.012 / 1.012, 1.006 / 1.012, 1.006])


def test_human_labels_outweigh_the_groups() -> None:
    """The same faces, called 0 by the group and 3 by a person: the person is believed."""
    base = person(40, classes=(0,), noise=0.05)
    target = np.eye(7)[np.where(np.arange(40) % 2, 3, 0)]
    origin = np.where(np.arange(40) % 2, Origin.CORRECTION, Origin.GROUP).astype(np.uint8)
    learner = HeadLearner(ARMS, settings=FitSettings(penalty=0.1), weighting=Weighting(balance=0))
    said = learner.fit(replace(base, target=target, origin=origin)).predict_proba(base)
    assert (said.argmax(axis=1) == 3).all()


def test_how_the_group_weighs_alone_and_beside_people() -> None:
    """One label of a person, and the group's weigh as beside people; all the group's, and they weigh as alone."""
    base = by_group(person())
    origin = base.origin.copy()
    origin[0] = Origin.CORRECTION
    for samples, counts in ((base, (False, True)), (replace(base, origin=origin), (True, False))):
        plain = HeadLearner(ARMS).fit(samples).predict_proba(base)
        heavier = (HeadLearner(ARMS, weighting=Weighting(group=5.0)), HeadLearner(ARMS, alone=Weighting(group=5.0)))
        moved = tuple(bool((learner.fit(samples).predict_proba(base) != plain).any()) for learner in heavier)
        assert moved == counts


def test_the_gradient_is_that_of_the_loss() -> None:
    """Against finite differences, for fewer and for more samples than inputs."""
    for n in (4, 30):
        samples = person(n)
        examples = Examples(samples.pixel, 0.8 * samples.target + 0.2 / 7, np.linspace(0.5, 1, n))
        problem = _Problem(ARMS.pixel, examples, np.ones(7, dtype=np.bool_))
        u = np.random.default_rng(0).normal(scale=0.1, size=problem.size)
        _, gradient = problem.value(u, 2.0)
        for k in np.random.default_rng(1).integers(0, problem.size, 12):
            step = np.zeros_like(u)
            step[k] = 1e-2
            slope = (problem.value(u + step, 2.0)[0] - problem.value(u - step, 2.0)[0]) / 2e-2
            assert_allclose(gradient[k], slope, atol=2e-2)


def test_parameters_are_those_of_the_head_that_comes_of_them() -> None:
    """The loss of the problem without penalty is that of its head, in the span of few samples as well."""
    for n in (4, 30):
        samples = person(n)
        examples = Examples(samples.pixel, samples.target, np.ones(n))
        problem = _Problem(ARMS.pixel, examples, np.ones(7, dtype=np.bool_))
        u = np.random.default_rng(0).normal(scale=0.5, size=problem.size)
        found = problem.head(u).logits(samples.pixel)
        assert_allclose(problem.value(u, 0.0)[0], -np.log(softmax(found)[np.arange(n), samples.label]).sum(), rtol=1e-4)


def test_classes_never_seen_are_left_alone() -> None:
    """Their output weights and biases are the generic ones, to the bit; those of seen classes are not."""
    learner = HeadLearner(ARMS, settings=FitSettings(penalty=0.1)).fit(person(classes=(0, 3)))
    assert learner.arms_ is not None
    for arm, generic in ((learner.arms_.pixel, ARMS.pixel), (learner.arms_.landmark, ARMS.landmark)):
        unseen, seen = [1, 2, 4, 5, 6], [0, 3]
        assert_array_equal(arm.head.b2[unseen], generic.head.b2[unseen])
        assert_array_equal(arm.head.w2[unseen], generic.head.w2[unseen])
        assert (arm.head.b2[seen] != generic.head.b2[seen]).all()


def test_the_penalty_holds_the_head_where_it_was() -> None:
    """Of a huge one the generic head is left; the distance from it grows as the penalty falls."""
    far = [
        np.abs(HeadLearner(ARMS, settings=FitSettings(penalty=p)).fit(person()).predict_proba(person())
               - ARMS.predict_proba(person())).max()
        for p in (1e9, 30.0, 0.3)
    ]  # fmt: skip
    assert far[0] < 1e-5
    assert far[0] < far[1] < far[2]


def test_a_sample_without_a_mesh_teaches_the_pixel_arm_alone() -> None:
    """Without any mesh the landmark arm stays generic; answers are those of the pixels."""
    blind = replace(person(), landmark=np.full((60, D), np.nan, dtype=np.float32))
    learner = HeadLearner(ARMS).fit(blind)
    assert learner.arms_ is not None
    assert learner.arms_.landmark is ARMS.landmark
    assert np.isfinite(learner.predict_proba(blind)).all()
    classical = ClassicalLearner("knn").fit(person())
    unread = replace(person(), interpretable=np.full((60, 51), np.nan, dtype=np.float32))
    assert np.isnan(classical.predict_proba(unread)).all()


def by_group(samples: Samples) -> Samples:
    """The same, labelled by the group."""
    return replace(samples, origin=np.full(len(samples), Origin.GROUP, dtype=np.uint8))


def test_a_label_of_the_group_counts_as_far_as_the_face_allows_it() -> None:
    """Read with 0.8 and told in half of all labels: 0.85 x 0.8 / (0.85 x 0.8 + 0.15 x 0.5); people's labels count whole."""
    samples = by_group(person(4, classes=(0, 3)))
    read = np.full((4, 7), 0.05)
    read[:, 0] = 0.7
    read[1, 3] = 0.8
    right = samples.plausible(read, 0.15)
    expected = [0.85 * p / (0.85 * p + 0.15 * 0.5) for p in (0.7, 0.8, 0.7, 0.05)]
    assert_allclose(right, expected)
    mixed = replace(samples, origin=np.array([0, 1, 0, 2], dtype=np.uint8))
    assert_allclose(mixed.plausible(read, 0.15)[[1, 3]], 1)
    # Without noise every label is right, also what is never read.
    assert_allclose(samples.plausible(np.zeros((4, 7)), 0.0), 1)
    # Of the two that the group labels both are told to be 0.
    assert_allclose(mixed.plausible(read, 0.15)[[0, 2]], 0.85 * 0.7 / (0.85 * 0.7 + 0.15))


def test_of_the_groups_word_the_class_is_learnt() -> None:
    """Soft shares or sure ones of the same classes give the same head; of people's word the shares are learnt."""
    sure = person()
    soft = replace(sure, target=0.6 * sure.target + 0.4 / 7)
    heads = [HeadLearner(ARMS).fit(by_group(samples)).predict_proba(sure) for samples in (sure, soft)]
    assert_array_equal(*heads)
    assert (np.abs(np.subtract(*(HeadLearner(ARMS).fit(s).predict_proba(sure) for s in (sure, soft)))) > 0.01).any()


def generic_of(*, read: int, share: float) -> Arms:
    """Arms that read one class with this share whatever they see, and all others alike."""
    p = np.full(7, (1 - share) / 6)
    p[read] = share
    zero = DenseHead(*(np.zeros(s, np.float32) for s in ((5, D), (5,), (7, 5))), np.log(p).astype(np.float32))
    return Arms(Arm(zero, 1.0, 1.0), Arm(zero, 1.0, 1.0))


def test_what_was_hardly_labelled_is_read_as_before() -> None:
    """Fear was never told and is hardly read: kept to the last digit; what is told shares the rest. Sadness is read all the time."""
    known = by_group(person(40, classes=(0, 3)))
    generic = generic_of(read=4, share=0.76)
    learner = HeadLearner(generic).fit(known)
    said, before = learner.predict_proba(known), generic.predict_proba(known)
    kept = [1, 2, 5, 6]
    assert_allclose(said[:, kept], before[:, kept])
    assert_allclose(said.sum(axis=1), 1)
    assert (said[:, 4] < before[:, 4]).all()
    few = by_group(person(18, classes=(0, 3)))
    assert_allclose(HeadLearner(generic).fit(few).predict_proba(few)[:, [0, 3]], generic.predict_proba(few)[:, [0, 3]])
    # Of people's word one label is enough.
    asked = replace(few, origin=np.full(18, Origin.SHEET, dtype=np.uint8))
    learnt = HeadLearner(generic).fit(asked).predict_proba(few)[:, [0, 3]]
    assert (learnt > 2 * generic.predict_proba(few)[:, [0, 3]]).all()
    # Nothing is kept where every class is told often enough.
    all_told = HeadLearner(generic).fit(by_group(person(70, classes=tuple(range(7)))))
    assert all_told.arms_ is not None
    assert all_told.arms_.pixel.retained is not None
    assert not all_told.arms_.pixel.retained.kept.any()


def test_what_learnt_from_the_group_is_read_together_with_the_generic_head() -> None:
    """The mean of logits: in proportion to the root of what either says; people are believed alone."""
    known = by_group(person(70, classes=tuple(range(7))))
    generic = generic_of(read=4, share=0.76)
    alone, together = (HeadLearner(generic, share=s).fit(known).predict_proba(known) for s in (0.0, 0.5))
    expected = np.sqrt(alone * generic.predict_proba(known))
    assert_allclose(together, expected / expected.sum(axis=1, keepdims=True), rtol=1e-5)
    asked = HeadLearner(generic).fit(person(70, classes=tuple(range(7)))).arms_
    assert asked is not None
    assert (asked.pixel.retained, asked.landmark.retained) == (None, None)


def test_what_goes_on_as_before_comes_back_from_the_file(tmp_path: Path) -> None:
    """Also a file that does not tell of it: then nothing does. What is no mask or no share is refused."""
    known = by_group(person(40, classes=(0, 3)))
    generic = generic_of(read=4, share=0.76)
    learner = HeadLearner(generic).fit(known)
    learner.save(tmp_path / "new")
    assert_allclose(load_learner(tmp_path / "new", generic).predict_proba(known), learner.predict_proba(known))
    _, arrays = learner_arrays(tmp_path / "new")
    first = {k: v for k, v in arrays.items() if k.partition(".")[2] in {"w1", "b1", "w2", "b2"}}
    write_learner(tmp_path / "old", "head", first | {"format": np.array(1)})
    old = load_learner(tmp_path / "old", generic)
    assert isinstance(old, HeadLearner)
    assert old.arms_ is not None
    assert (old.arms_.pixel.retained, old.arms_.landmark.retained) == (None, None)
    rest = {k: v for k, v in arrays.items() if k not in {"learner", "format"}}
    wrong = [{"kept": np.zeros(6)}, {"kept": np.full(7, 2)}, {"share": np.zeros(7)}, {"share": np.array(np.nan)}]
    for values in wrong:
        write_learner(tmp_path / "wrong", "head", rest | {f"pixel.{key}": value for key, value in values.items()})
        with pytest.raises(ModelError, match="what of the generic head goes on"):
            load_learner(tmp_path / "wrong", generic)


def test_a_head_learns_from_a_thousand_samples_in_two_seconds() -> None:
    """Of the shipped models' size; measured in processor time, so that neighbours do not count."""
    rng = np.random.default_rng(0)
    n, target = 1000, np.eye(7)[np.random.default_rng(1).integers(0, 7, 1000)]
    one = np.ones(n)
    embeddings = [np.maximum(rng.normal(size=(n, 256)), 0).astype(np.float32) for _ in range(2)]
    samples = Samples(
        np.arange(n) * 2.0, *embeddings, np.zeros((n, 51), np.float32), target, one, one, np.zeros(n, np.uint8)
    )
    learner = HeadLearner(generic_arms())
    started = time.process_time()
    learner.fit(samples)
    assert time.process_time() - started < 2.0


def test_settings_reach_the_estimators() -> None:
    """Neighbours, leaves, layer and columns are those asked for."""
    settings = ClassicalSettings("action-units", neighbours=3, trees=7, leaf=2, hidden=4)
    of = {kind: ClassicalLearner(kind, settings=settings).fit(person()).estimator_ for kind in KINDS}
    assert of["knn"].n_neighbors == 3
    assert (len(of["random-forest"].estimators_), of["random-forest"].min_samples_leaf) == (7, 2)
    assert [layer.shape for layer in of["mlp"].coefs_] == [(35, 4), (4, 3)]


@pytest.mark.parametrize("kind", KINDS)
def test_one_class_alone(kind: str) -> None:
    """Who was seen in one class only is told that class."""
    said = make_learner(kind, ARMS).fit(person(6, classes=(3,)), 0).predict_proba(person(6))
    assert_allclose(said[:, 3], 1)


def test_unknown_learners_are_named() -> None:
    """The message says what there is."""
    with pytest.raises(ModelError, match="no learner 'svm'; choose from offset, head, knn, random-forest, mlp"):
        make_learner("svm", ARMS)


def other_dimension(path: Path) -> None:
    """Writes a head for embeddings of four numbers."""
    arms = Arms(Arm(small_head(0, 4), 1, 1), Arm(small_head(1, 4), 1, 1))
    of = person()
    HeadLearner(arms).fit(replace(of, pixel=of.pixel[:, :4], landmark=of.landmark[:, :4])).save(path)


def estimator(thing: object, kind: str = "knn", **more: object) -> Callable[[Path], None]:
    """What writes a file in which this lies as an estimator."""

    def write(path: Path) -> None:
        packed = np.frombuffer(skops.io.dumps(thing), dtype=np.uint8)
        arrays = {"columns": np.array("all"), "rest": np.zeros(51), "spread": np.ones(51), "estimator": packed}
        write_learner(path, kind, arrays | more)  # type: ignore[arg-type]

    return write


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda path: write_learner(path, "offset", {"offset": np.zeros(6)}), "no offset of 7 finite numbers"),
        (lambda path: write_learner(path, "offset", {}), "no offset of 7 finite numbers"),
        (lambda path: write_learner(path, "svm", {}), "holds a learner 'svm' that this attuned does not know"),
        (lambda path: write_learner(path, "head", {}), "lacks 'pixel.w1'"),
        (lambda path: write_learner(path, "offset", {"format": np.array(3)}), "format 3, expected 2 at most"),
        (other_dimension, "a head for other models"),
        (lambda path: write_learner(path, "knn", {}), r"damaged \(KeyError\)"),
        (estimator(SVC()), "is no knn"),
        (estimator(ClassicalLearner("knn").fit(person()).estimator_, columns=np.array("some")), "is no knn"),
        (estimator(ClassicalLearner("knn").fit(person()).estimator_, "mlp"), "is no mlp"),
        (estimator(Weighting()), "is refused: Untrusted types"),
        (lambda path: path.write_bytes(b"no head"), "is damaged"),
    ],
)
def test_files_that_are_no_learner_of_ours(write: Callable[[Path], object], told: str, tmp_path: Path) -> None:
    """Refused in one line, whatever they are; no type is made that is not on the list."""
    path = tmp_path / "personal.head"
    write(path)
    with pytest.raises(ModelError, match=told) as caught:
        load_learner(path, ARMS)
    assert "\n" not in str(caught.value)


def test_a_file_of_heads_is_no_learner(tmp_path: Path) -> None:
    """What `write_arrays` wrote for another purpose."""
    from models.personal.heads import write_arrays  # noqa: PLC0415

    write_arrays(tmp_path / "heads.npz", small_head().arrays())
    with pytest.raises(ModelError, match="is no personal head"):
        load_learner(tmp_path / "heads.npz", ARMS)


def rated(n: int = 40, seed: int = 0) -> tuple[Samples, np.ndarray]:
    """Samples, and ratings that follow the features linearly, away from what the classes say."""
    samples = person(n, seed)
    derived = ARMS.predict_proba(samples) @ VALENCE_AROUSAL
    return samples, (derived + 0.3 * np.tanh(samples.pixel[:, :2]) - 0.1).clip(-1, 1)


@pytest.mark.parametrize("derived", [True, False])
def test_ratings_are_learnt_and_kept(derived: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """The error on new samples falls below that of the derived values; the file gives the same."""
    learner = AffectLearner(ARMS, penalty=0.01, derived=derived).fit(*rated())
    new, truth = rated(seed=3)
    before = np.abs(learner.derived(new) - truth).mean()
    assert np.abs(learner.predict(new) - truth).mean() < before
    learner.save(tmp_path / "affect.head")
    assert_allclose(AffectLearner.load(tmp_path / "affect.head", ARMS).predict(new), learner.predict(new))


def test_a_large_penalty_leaves_a_shift_alone() -> None:
    """Of ratings 0.2 above the derived values, with one rating's worth of prior: 0.2 x 9 / 10."""
    samples = person(9)
    learner = AffectLearner(ARMS, penalty=1e12)
    learner.fit(samples, learner.derived(samples) + 0.2)
    assert_allclose(learner.predict(samples), (learner.derived(samples) + 0.18).clip(-1, 1), atol=1e-6)


def test_no_mesh_is_no_landmark_feature() -> None:
    """Ratings of samples without a mesh are learnt from pixels."""
    samples = replace(person(9), landmark=np.full((9, D), np.nan, dtype=np.float32))
    assert np.isfinite(AffectLearner(ARMS).fit(samples, np.zeros((9, 2))).predict(samples)).all()


def test_ratings_that_cannot_be_learnt_from(tmp_path: Path) -> None:
    """Wrong shapes, nothing at all, before fit, and files of others."""
    learner = AffectLearner(ARMS)
    for samples, ratings in ((person(3), np.zeros((2, 2))), (person(3), np.full((3, 2), np.nan)), (person(3).take(np.arange(0)), np.zeros((0, 2)))):  # fmt: skip
        with pytest.raises(ValueError, match="ratings: expected"):
            learner.fit(samples, ratings)
    for ask in (lambda: learner.predict(person()), lambda: learner.save(tmp_path / "a")):
        with pytest.raises(ValueError, match="has not learnt yet"):
            ask()
    path = tmp_path / "a"
    OffsetLearner(ARMS).fit(person()).save(path)
    with pytest.raises(ModelError, match="not one of valence and arousal"):
        AffectLearner.load(path, ARMS)
    whole = {"mean": np.zeros(10), "weights": np.zeros((10, 2)), "shift": np.zeros(2)}
    for change, told in (
        ({"mean": np.zeros(3)}, "for other models"),
        ({"shift": np.full(2, np.nan)}, "expected finite numbers"),
    ):
        write_learner(path, "valence-arousal", whole | change)
        with pytest.raises(ModelError, match=told):
            AffectLearner.load(path, ARMS)
    write_learner(path, "valence-arousal", {"mean": np.zeros(10)})
    with pytest.raises(ModelError, match="lacks 'weights'"):
        AffectLearner.load(path, ARMS)
