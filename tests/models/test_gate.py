"""The gate: golden cases by hand, each reason by itself, and what chance alone gets through."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.personal.comparison import (
    Rows,
    best_softness,
    calibration_error,
    calibration_lost,
    correlation_gain,
    drawn_blocks,
    log_loss_gain,
    mistaken,
    restricted,
    separability,
    softened,
)
from models.personal.gate import DEFAULT_GATE, GateSettings, Judged, Verdict, classes_of, judge, split_in_time
from models.personal.monitor import DEFAULT_MONITOR
from pipeline.emotions import EMOTIONS, F64
from pipeline.metrics import expected_calibration_error

HAPPY, SAD, NEUTRAL = (EMOTIONS.index(name) for name in ("happiness", "sadness", "neutral"))
CLASSES = (HAPPY, SAD, NEUTRAL)
ALPHABET = np.array(CLASSES)


def soft(label: np.ndarray, share: float) -> F64:  # type: ignore[type-arg]
    """(n, 7) distributions with that share for the label, the rest over the other two of `CLASSES`."""
    p = np.zeros((len(label), 7))
    p[:, list(CLASSES)] = (1 - share) / 2
    p[np.arange(len(label)), label] = share
    return p


def shown(n: int, *, run_s: int = 7) -> np.ndarray:  # type: ignore[type-arg]
    """(n,) labels of the three classes in turn, each for `run_s` seconds."""
    return ALPHABET[np.arange(n) // run_s % 3]


def turned(label: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """The next class of each."""
    return ALPHABET[(np.searchsorted(ALPHABET, label) + 1) % 3]


def verdict_on(
    judged: Judged, silhouette: float = 0.3, pooled: float | None = 0.3, settings: GateSettings = DEFAULT_GATE
) -> Verdict:
    """The verdict with enough to train on."""
    return judge(judged, n_trained=300, silhouette=silhouette, pooled_silhouette=pooled, seed=1, settings=settings)


def case(
    n: int = 200, *, generic: float = 0.5, personal: float = 0.7, wrong: int = 3, wrong_personal: int = 6
) -> Judged:
    """One sample a second; every `wrong`-th generic and every `wrong_personal`-th personal reading is another class."""
    label, at = shown(n), np.arange(n)
    theirs = np.where(at % wrong == 0, turned(label), label)
    ours = np.where(at % wrong_personal == 0, turned(label), label)
    return Judged(at + 0.5, soft(ours, personal), soft(theirs, generic), soft(label, 0.8), CLASSES)


def test_a_better_head_passes() -> None:
    """Right on five of six instead of two of three: every figure is better, no reason is given."""
    verdict = verdict_on(case(personal=0.7), settings=GateSettings(noise=0.0))
    assert verdict.reasons == ()
    assert verdict.passed
    assert verdict_on(case(personal=0.7)).passed
    assert (verdict.n_trained, verdict.n_judged, verdict.n_blocks) == (300, 200, 20)
    assert verdict.classes == ("happiness", "sadness", "neutral")
    figures = verdict.figures
    assert figures is not None
    # The label gives 0.8 to what is read where that is right and 0.1 where not, on average m. At its best softness a
    # reading of one share for all has just that share: -(m ln m + (1 - m) ln((1 - m) / 2)).
    for found, n_right in ((figures.log_loss.generic, 133), (figures.log_loss.personal, 166)):
        m = (n_right * 0.8 + (200 - n_right) * 0.1) / 200
        assert found == pytest.approx(-(m * math.log(m) + (1 - m) * math.log((1 - m) / 2)), abs=1e-6)
    assert figures.log_loss.low > 0
    assert figures.correlation.personal > figures.correlation.generic
    # One confidence for all: its distance from what labels give, 0.8 where right (133 and 166 of 200), else 0.1.
    assert figures.ece_generic == pytest.approx(abs((133 * 0.8 + 67 * 0.1) / 200 - 0.5))
    assert figures.ece_personal == pytest.approx(abs((166 * 0.8 + 34 * 0.1) / 200 - 0.7))
    assert (figures.n_confident, figures.n_flipped) == (0, 0)
    assert verdict.as_json()["figures"]["log_loss"]["low"] == figures.log_loss.low


def test_the_groups_labels_may_be_wrong_and_peoples_are_not() -> None:
    """Two samples of a and two of b, each half and half: with a noise of 0.2 what is read with p is told with 0.8 p + 0.1."""
    generic = np.array([[0.75, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.25]])
    told, noise = np.array([0.5, 0.5]), np.array([[0.2], [0.2], [0.2], [0.0]])
    assert mistaken(generic, told, noise) == pytest.approx(np.array([[0.7, 0.3], [0.7, 0.3], [0.3, 0.7], [0.75, 0.25]]))
    base = case(personal=0.7)
    human = Judged(*(getattr(base, name) for name in ("time_s", "personal", "generic", "target", "classes")), None, np.ones(200, dtype=np.bool_))  # fmt: skip
    by_people, without = verdict_on(human).figures, verdict_on(base, settings=GateSettings(noise=0.0)).figures
    by_group = verdict_on(base).figures
    assert by_people is not None
    assert without is not None
    assert by_group is not None
    assert (by_people.log_loss, by_people.ece_personal) == (without.log_loss, without.ece_personal)
    assert by_group.log_loss != without.log_loss


def test_a_calibration_that_may_be_worse_by_chance_is_no_reason() -> None:
    """Two rows a block, all in one bin: drawn is which blocks count, and with them how far off each head is.

    Labels say what is read in both rows of the first block and in one of two in the second. Sure to 0.5, the generic head is
    off by 1/4 over both, 1/2 in the first and nothing in the second; sure to 1, the personal one by 1/4, nothing and 1/2.
    """
    target = np.eye(2)[[0, 0, 0, 1]]
    rows = Rows(target, np.full((4, 2), 0.5), np.array([[1.0, 0.0]] * 4), np.array([0, 0, 1, 1]))
    drawn = np.array([[1, 1], [2, 0], [0, 2]])
    # What is lost is 0, -1/2 and 1/2: the median is 0, a tenth lies below -0.4.
    assert calibration_lost(rows, drawn, n_bins=1, level=0.5) == pytest.approx(0)
    assert calibration_lost(rows, drawn, n_bins=1, level=0.9) == pytest.approx(-0.4)


def test_only_a_sure_loss_of_calibration_is_a_reason() -> None:
    """The same figures, the bound above nothing and below: told in words or not at all."""
    base = case(generic=0.65, personal=0.99, wrong_personal=12)
    figures = verdict_on(base).figures
    assert figures is not None
    assert figures.ece_lost > 0
    # One block of twenty is read with too much trust: larger by more than the tolerance, and no longer surely so.
    label, at = shown(200), np.arange(200)
    personal = np.where((at < 10)[:, None], soft(turned(label), 0.99), soft(label, 0.99))
    unsure = verdict_on(
        Judged(base.time_s, personal, soft(label, 0.985), np.eye(7)[label], CLASSES), settings=GateSettings(noise=0.0)
    )
    assert unsure.figures is not None
    assert unsure.figures.ece_personal > unsure.figures.ece_generic + 0.02
    assert unsure.figures.ece_lost <= 0
    assert not any(reason.startswith("calibration") for reason in unsure.reasons)


def test_a_worse_head_is_rejected() -> None:
    """Wrong where the generic one is right: log-loss and correlation say so."""
    verdict = verdict_on(case(wrong=6, wrong_personal=3, generic=0.7, personal=0.5))
    assert not verdict.passed
    assert [reason.split(" ")[0] for reason in verdict.reasons][:2] == ["log-loss", "correlation"]
    assert "is not better than" in verdict.reasons[0]


def test_the_same_head_is_rejected() -> None:
    """A gain of nothing is none."""
    same = case(wrong_personal=3, personal=0.5)
    verdict = verdict_on(same)
    assert verdict.figures is not None
    assert verdict.figures.log_loss.low == verdict.figures.correlation.low == 0
    assert len(verdict.reasons) == 2


def test_a_gain_that_may_be_chance_is_rejected() -> None:
    """Much better in one of 20 blocks and a little worse in all others: better on average, not surely."""
    label = shown(200)
    at = np.arange(200)
    generic = soft(label, 0.6)
    personal = np.where((at < 10)[:, None], soft(label, 0.9), soft(label, 0.585))
    verdict = verdict_on(Judged(at + 0.5, personal, generic, soft(label, 0.8), CLASSES))
    assert verdict.figures is not None
    assert verdict.figures.log_loss.low <= 0
    assert verdict.reasons[0].startswith("log-loss")


def test_an_overconfident_head_is_rejected() -> None:
    """Better, and right on 83 %, but sure to 99 %."""
    verdict = verdict_on(case(generic=0.65, personal=0.99, wrong_personal=12))
    assert any(reason.startswith("calibration error") for reason in verdict.reasons)


def test_a_head_that_changes_confident_readings_is_rejected() -> None:
    """2 of 20 confident generic readings become another class that no label speaks for; 1 of 20 may."""
    base = case()
    for n_flipped, told in ((1, ()), (2, ("it changes 2 of 20 confident generic readings, more than 5%",))):
        generic, personal = base.generic.copy(), base.personal.copy()
        # Rows 1, 7, 13, … are those where neither is wrong but for the personal head in rows 0, 6, 12, …
        rows = np.flatnonzero((np.arange(200) % 3 != 0) & (np.arange(200) % 6 != 0))[:20]
        generic[rows] = soft(shown(200)[rows], 0.95)
        personal[rows] = soft(shown(200)[rows], 0.9)
        personal[rows[:n_flipped]] = soft(turned(shown(200)[rows[:n_flipped]]), 0.5)
        verdict = verdict_on(Judged(base.time_s, personal, generic, base.target, CLASSES))
        assert verdict.figures is not None
        assert (verdict.figures.n_confident, verdict.figures.n_flipped) == (20, n_flipped)
        assert tuple(reason for reason in verdict.reasons if "confident" in reason) == told


def resting_sad(n: int = 210) -> Judged:
    """A face that is called sad with confidence while it is neutral, and a head that has learnt better; all else is read alike."""
    label, at = shown(n), np.arange(n)
    generic = soft(np.where(label == NEUTRAL, SAD, label), 0.95)
    # One of six labels is wrong, as the group's are.
    said = np.where(at // 7 % 6 == 5, turned(label), label)
    return Judged(at + 0.5, soft(label, 0.9), generic, soft(said, 0.8), CLASSES)


def test_a_face_that_is_confidently_misread_gets_its_head() -> None:
    """70 of 210 confident readings change from sad to neutral, and the labels say neutral: what GROUP, section 5, is about."""
    verdict = verdict_on(resting_sad())
    assert verdict.reasons == ()
    assert verdict.figures is not None
    assert (verdict.figures.n_excused, verdict.figures.n_flipped, verdict.figures.n_confident) == (70, 0, 140)


def test_excused_readings_make_no_room_for_others() -> None:
    """Eight happy readings turned into neutral besides: 8 of the 140 that nobody calls wrong, not of 210."""
    base = resting_sad()
    personal = base.personal.copy()
    rows = np.flatnonzero(base.generic.argmax(axis=1) == HAPPY)[::9]
    personal[rows] = soft(np.full(len(rows), NEUTRAL), 0.5)
    verdict = verdict_on(Judged(base.time_s, personal, base.generic, base.target, CLASSES))
    assert len(rows) == 8
    assert "it changes 8 of 140 confident generic readings, more than 5%" in verdict.reasons


def test_a_face_that_is_rightly_called_sad_keeps_its_reading() -> None:
    """The same head where the group is sad: 70 of 210 confident readings change at its own risk, and it is worse too."""
    base = resting_sad()
    target = base.generic
    verdict = verdict_on(Judged(base.time_s, base.personal, base.generic, target, CLASSES))
    assert "it changes 70 of 210 confident generic readings, more than 5%" in verdict.reasons


def test_a_face_that_differs_too_little_is_rejected() -> None:
    """Below 0.1, and below half of what others' faces differ; without others only the first counts."""
    assert [verdict_on(case(), 0.09, 0.1).reasons] == [
        ("this face differs too little between expressions (silhouette 0.09 below 0.1)",)
    ]
    assert verdict_on(case(), 0.12, 0.3).reasons == (
        "this face differs much less between expressions than others do (silhouette 0.12 below 0.5 of 0.30)",
    )
    assert verdict_on(case(), 0.12, None).passed


def test_too_little_to_judge_is_rejected() -> None:
    """One class to learn, one to judge, too few blocks, no probabilities: each in words, without figures."""
    whole = case()
    one_class = Judged(whole.time_s, whole.personal, whole.generic, whole.target, (HAPPY,))
    one_shown = Judged(whole.time_s, whole.personal, whole.generic, soft(np.full(200, SAD), 0.8), CLASSES)
    short = Judged(*(a[:190] for a in (whole.time_s, whole.personal, whole.generic, whole.target)), CLASSES)
    broken = Judged(whole.time_s, whole.personal * np.nan, whole.generic, whole.target, CLASSES)
    unnormed = Judged(whole.time_s, whole.personal, whole.generic * 2, whole.target, CLASSES)
    assert [verdict_on(judged).reasons for judged in (one_class, one_shown, short, broken, unnormed)] == [
        ("fewer than two expressions have 10 samples to learn from",),
        ("the later part shows one expression only, sadness",),
        ("the later part has 19 of 20 blocks of 10 s to judge on",),
        ("the personal head gives what are no probabilities",),
        ("the generic head gives what are no probabilities",),
    ]
    assert verdict_on(short).figures is None
    assert verdict_on(short).as_json()["figures"] is None


def test_labels_outside_the_compared_classes_are_left_out() -> None:
    """They would be a comparison of what neither head was asked."""
    whole = case(n=230)
    target = whole.target.copy()
    target[:10] = np.eye(7)[EMOTIONS.index("fear")]
    verdict = verdict_on(Judged(whole.time_s, whole.personal, whole.generic, target, CLASSES))
    assert verdict.n_judged == 220


def test_restriction_takes_the_classes_alone() -> None:
    """0.2 and 0.3 of two classes become 0.4 and 0.6; nothing of either becomes a half each."""
    p = np.array([[0.1, 0.2, 0.1, 0.3, 0.1, 0.1, 0.1], [1.0, 0, 0, 0, 0, 0, 0]])
    assert restricted(p, (1, 3)) == pytest.approx(np.array([[0.4, 0.6], [0.5, 0.5]]))


def test_the_split_is_in_time_with_a_gap() -> None:
    """500 s make 50 blocks: the later 20 begin at 300 s, what is trained on ends before 290 s."""
    time_s = np.arange(500) + 0.25
    split = split_in_time(time_s, GateSettings(later_share=0.4))
    assert split.why_not is None
    assert time_s[split.earlier].max() == 289.25
    assert (time_s[split.later].min(), split.later.sum()) == (300.25, 200)


def test_the_later_part_is_as_long_as_it_must_be() -> None:
    """40 blocks are halved; 39 are too few; of 101 the later 50 are judged; blocks without samples do not count."""
    assert split_in_time(np.arange(400.0)).later.sum() == 200
    told = "samples in 39 blocks of 10 s; 40 are needed to train on the earlier half and judge on the later"
    refused = split_in_time(np.arange(390.0))
    assert refused.why_not == told
    assert not refused.earlier.any()
    assert not refused.later.any()
    assert split_in_time(np.arange(1010.0)).later.sum() == 500
    sparse = np.arange(0.0, 4000.0, 100.0)
    assert split_in_time(sparse).later.sum() == 20
    assert split_in_time(np.array([])).why_not is not None


@given(st.lists(st.floats(0, 5000), max_size=300).map(sorted))
def test_no_neighbouring_frame_is_on_both_sides(times: list[float]) -> None:
    """Whatever the times: a gap between the parts, and the later one with its blocks."""
    split = split_in_time(np.array(times))
    assert not (split.earlier & split.later).any()
    if split.why_not is None:
        time_s = np.array(times)
        later = time_s[split.later]
        assert len(np.unique(later // 10)) >= 20
        if split.earlier.any():
            assert later.min() - time_s[split.earlier].max() > 10


def test_classes_are_those_seen_often_enough() -> None:
    """Ten of each."""
    label = np.repeat(np.array([HAPPY, SAD, NEUTRAL]), [9, 10, 30])
    assert classes_of(label) == (SAD, NEUTRAL)


def test_correlation_is_that_of_pearson() -> None:
    """On the whole as numpy says, mean over the classes that move; a head that stands still has 0."""
    rng = np.random.default_rng(3)
    target, generic = rng.dirichlet(np.ones(3), 60), rng.dirichlet(np.ones(3), 60)
    still = np.full((60, 3), 1 / 3)
    rows = Rows(target, generic, still, np.arange(60) // 10)
    gain = correlation_gain(rows, drawn_blocks(6, n_resamples=50, seed=0), level=0.9)
    expected = np.mean([np.corrcoef(target[:, c], generic[:, c])[0, 1] for c in range(3)])
    assert (gain.generic, gain.personal) == (pytest.approx(expected), 0.0)
    # Of labels that stand still in one class, the two others count.
    target = np.column_stack([np.full(60, 0.2), target[:, 0] * 0.8, 0.8 - target[:, 0] * 0.8])
    gain = correlation_gain(
        Rows(target, generic, still, np.arange(60) // 10), drawn_blocks(6, n_resamples=50, seed=0), level=0.9
    )
    expected = np.mean([np.corrcoef(target[:, c], generic[:, c])[0, 1] for c in (1, 2)])
    assert gain.generic == pytest.approx(expected)


def test_softness_is_found_and_undone() -> None:
    """Twice the temperature is undone by half; labels that say what is said need none."""
    p = np.random.default_rng(0).dirichlet(np.ones(3), 50)
    assert best_softness(p, p) == pytest.approx(1, abs=1e-3)
    assert best_softness(p, softened(p, 2.0)) == pytest.approx(0.5, abs=1e-3)
    assert softened(np.array([[0.64, 0.36]]), 2.0) == pytest.approx(np.array([[0.8 / 1.4, 0.6 / 1.4]]))


def test_a_head_that_only_learnt_to_be_soft_is_rejected() -> None:
    """Its log-loss against soft labels is better by far; at the best softness of both it is the same."""
    base = case(generic=0.98, wrong=4)
    personal = softened(base.generic, 3.0)
    verdict = verdict_on(Judged(base.time_s, personal, base.generic, base.target, CLASSES))
    assert verdict.reasons[0].startswith("log-loss")


def test_the_interval_is_that_of_whole_blocks() -> None:
    """Two blocks of 1 and 3 rows: resamples have gain 1, 0 or the mean over rows, a quarter; the 10th percentile is 0."""
    target = np.array([[1.0, 0.0]] * 4)
    generic = np.array([[math.exp(-1), 1 - math.exp(-1)]] + [[0.5, 0.5]] * 3)
    personal = np.array([[1.0, 0.0]] + [[0.5, 0.5]] * 3)
    rows = Rows(target, generic, personal, np.array([0, 1, 1, 1]))
    gain = log_loss_gain(rows, np.array([[1, 1], [2, 0], [0, 2]]), level=0.5)
    assert gain.low == pytest.approx(0.25)
    drawn = drawn_blocks(2, n_resamples=4000, seed=0)
    assert (drawn.sum(axis=1) == 2).all()
    assert drawn.mean(axis=0) == pytest.approx([1, 1], abs=0.05)


def test_calibration_error_of_one_confidence() -> None:
    """Right on 3 of 4 with 0.6: 0.15. A head that says what soft labels say has none."""
    target = np.eye(2)[[0, 0, 0, 1]]
    assert calibration_error(target, np.array([[0.6, 0.4]] * 4), n_bins=1) == pytest.approx(0.15)
    assert calibration_error(target, np.array([[0.6, 0.4]] * 4), n_bins=3) == pytest.approx(0.15)
    assert calibration_error(soft(shown(60), 0.7), soft(shown(60), 0.7), n_bins=5) == pytest.approx(0)


@given(st.integers(0, 10**6), st.integers(1, 20))
def test_calibration_error_of_sure_labels_is_the_usual_one(seed: int, n_bins: int) -> None:
    """That of `pipeline.metrics`, ties and all."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), 50).round(1) + 1e-3
    p /= p.sum(axis=1, keepdims=True)
    truth = rng.integers(0, 3, 50)
    expected = expected_calibration_error(p.argmax(axis=1) == truth, p.max(axis=1), n_bins=n_bins)
    assert calibration_error(np.eye(3)[truth], p, n_bins=n_bins) == pytest.approx(expected)


def test_the_silhouette_is_worked_by_hand() -> None:
    """Points 0, 1 and 10, 11 on a line: (a, b) = (1, 10.5), (1, 9.5) and mirrored, mean 1 - (2/21 + 2/19) / 2."""
    points = np.array([[0.0], [1.0], [10.0], [11.0]])
    label = np.array([HAPPY, HAPPY, SAD, SAD])
    expected = 1 - (1 / 10.5 + 1 / 9.5) / 2
    assert separability(points, label, n_components=5) == pytest.approx(expected)
    # A class of one sample is left out, a feature that never changes too.
    more = np.column_stack([[0.0, 1.0, 10.0, 11.0, 5.0], np.full(5, 3.0)])
    assert separability(more, np.append(label, NEUTRAL), n_components=5) == pytest.approx(expected)


def test_nothing_is_told_apart_where_there_is_nothing() -> None:
    """One class, no sample, or samples all alike: 0."""
    assert separability(np.eye(4), np.full(4, SAD), n_components=5) == 0
    assert separability(np.zeros((0, 3)), np.zeros(0, dtype=np.int64), n_components=5) == 0
    assert separability(np.ones((4, 2)), np.array([0, 0, 1, 1]), n_components=5) == 0


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_the_silhouette_is_a_silhouette(seed: int) -> None:
    """In [-1, 1], whatever the scale and place of the features, and far from 0 for classes far apart."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, 40)
    cloud = rng.normal(size=(40, 6))
    found = separability(cloud, label, n_components=5)
    assert -1 <= found <= 1
    scaled = cloud * rng.uniform(0.1, 10, 6) + rng.normal(size=6)
    assert separability(scaled, label, n_components=5) == pytest.approx(found, abs=1e-9)
    assert separability(cloud + 50 * np.repeat(np.eye(3), 2, axis=1)[label], label, n_components=5) > 0.8


@pytest.mark.parametrize("run_s", [1, 15])
def test_wrong_labels_do_not_pass(run_s: int) -> None:
    """200 seeds of labels that have nothing to do with the face: at most 5 % of the heads learnt from them pass.

    The head is the best that such labels allow, in that it knows how often each class is said; the silhouette is
    taken as good, so that only the figures of the comparison stand against it.
    """
    passed = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        face = ALPHABET[rng.integers(0, 3, 300 // run_s + 1).repeat(run_s)[:300]]
        label = ALPHABET[rng.integers(0, 3, 300 // run_s + 1).repeat(run_s)[:300]]
        noise = rng.dirichlet(np.full(7, 0.5), (2, 300))
        generic = 0.6 * soft(face, 0.8) + 0.4 * noise[0]
        # Some other weighting of the same face, and its own noise.
        shift = rng.normal(0, 0.5, 7)
        personal = np.exp(np.log(0.6 * soft(face, 0.8) + 0.4 * noise[1]) + shift)
        personal /= personal.sum(axis=1, keepdims=True)
        verdict = verdict_on(Judged(np.arange(300) + 0.5, personal, generic, soft(label, 0.8), CLASSES))
        passed += verdict.passed
    assert passed <= 10


def test_settings_are_the_design_s() -> None:
    """20 blocks of 10 s, 90 %, 5 %, five components, 0.1 and half."""
    assert GateSettings() == DEFAULT_GATE
    assert (DEFAULT_GATE.n_blocks, DEFAULT_GATE.block_s, DEFAULT_GATE.level) == (20, 10, 0.9)
    assert (DEFAULT_GATE.max_flipped, DEFAULT_GATE.n_components) == (0.05, 5)
    assert (DEFAULT_GATE.min_silhouette, DEFAULT_GATE.pooled_share) == (0.1, 0.5)
    assert DEFAULT_MONITOR.block_s == DEFAULT_GATE.block_s
