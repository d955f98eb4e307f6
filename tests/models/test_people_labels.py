"""Judging by what people said: stretches, the rolling origin, and which readings they may change."""

from dataclasses import replace
from typing import Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.personal.gate import DEFAULT_GATE, Judged, by_people, judge, split_by_people, split_in_time
from models.personal.samples import I64, Origin, Samples, stretches, unmixed
from models.personal.training import Job, train_and_judge
from pipeline.emotions import EMOTIONS, F64, softmax

HAPPY, SAD, NEUTRAL = (EMOTIONS.index(name) for name in ("happiness", "sadness", "neutral"))
CLASSES = np.array([HAPPY, SAD, NEUTRAL])
JOB = Job("head", 0, ("a", "b"))


def samples(label: I64, *, origin: Origin = Origin.CORRECTION, tilt: float = 0.0, start_s: float = 0.0) -> Samples:
    """One a second; each shows its label, and sadness as well."""
    n = len(label)
    logits = np.random.default_rng(0).normal(0, 0.3, (n, 7)) + 3.0 * np.eye(7)[label]
    logits[:, SAD] += tilt
    return Samples(
        time_s=start_s + np.arange(n) + 0.5,
        pixel=logits.astype(np.float32),
        landmark=np.full((n, 2), np.nan, dtype=np.float32),
        interpretable=np.full((n, 51), np.nan, dtype=np.float32),
        target=np.eye(7)[label],
        confidence=np.ones(n),
        quality=np.ones(n),
        origin=np.full(n, origin, dtype=np.uint8),
    )


def joined(*parts: Samples) -> Samples:
    """All of them, one after the other."""
    names = ("time_s", "pixel", "landmark", "interpretable", "target", "confidence", "quality", "origin")
    return Samples(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def in_turn(n: int, run_s: int = 3) -> I64:
    """(n,) the three classes in turn, each for `run_s` seconds."""
    return CLASSES[np.arange(n) // run_s % 3]


class Offset:
    """Learns what the labels say more than the face does; keeps a list of how much it was given, and until when."""

    def __init__(self) -> None:
        self.offset = np.zeros(7)
        self.seen: list[tuple[int, float]] = []

    def fit(self, samples: Samples, seed: int) -> Self:
        """Learns."""
        self.seen.append((len(samples), float(samples.time_s[-1])))
        log = np.log(samples.target.clip(1e-3)) - np.log(softmax(samples.pixel.astype(float)))
        self.offset = log.mean(axis=0).clip(-4, 4)
        return self

    def predict_proba(self, samples: Samples) -> F64:
        """Reads."""
        return softmax(samples.pixel.astype(float) + self.offset)

    def save(self, path: object) -> None:
        """Not asked for here."""
        raise NotImplementedError


def test_a_stretch_is_one_label_without_a_break_and_not_too_long() -> None:
    """Another label, or ten seconds after the stretch began, begin the next."""
    time_s = np.array([0.0, 1.0, 2.0, 3.0, 12.5, 13.0, 22.0, 23.0])
    label = np.array([SAD, SAD, HAPPY, HAPPY, HAPPY, HAPPY, HAPPY, HAPPY])
    assert stretches(time_s, label).tolist() == [0, 0, 1, 1, 2, 2, 2, 3]
    assert stretches(np.array([]), np.array([], dtype=np.int64)).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), max_size=40, unique_by=lambda row: row[0]))
def test_unmixed_is_what_has_no_other_label_nearby(rows: list[tuple[int, int]]) -> None:
    """The same as looking at every pair."""
    rows.sort()
    time_s = np.array([float(t) for t, _ in rows])
    label = np.array([c for _, c in rows], dtype=np.int64)
    mixed = [any(abs(t - u) <= 2 and c != d for u, d in rows) for t, c in rows]
    assert unmixed(time_s, label).tolist() == [not m for m in mixed]


def test_the_later_half_of_the_stretches_is_judged() -> None:
    """Fourteen stretches of three seconds: the later seven begin at 21 s, what is before 19.5 s is learnt from."""
    whole = samples(in_turn(42))
    split = split_by_people(whole, by_people(DEFAULT_GATE))
    assert split.why_not is None
    assert whole.time_s[split.earlier].max() == 18.5
    assert (whole.time_s[split.later].min(), split.later.sum()) == (21.5, 21)
    # What the group says of these seconds is learnt from, but judges nobody.
    mixed = replace(whole, origin=np.where(np.arange(42) % 3 == 1, Origin.GROUP, whole.origin).astype(np.uint8))
    split = split_by_people(mixed, by_people(DEFAULT_GATE))
    assert (split.earlier.sum(), split.later.sum()) == (19, 14)
    few = split_by_people(samples(in_turn(27)), by_people(DEFAULT_GATE))
    assert few.why_not == "people labelled 9 of 10 stretches of one expression"
    assert split_by_people(samples(in_turn(27), origin=Origin.GROUP), by_people(DEFAULT_GATE)).why_not is not None


def test_every_stretch_is_judged_by_a_head_that_never_saw_it() -> None:
    """Seven stretches, seven heads, each from what ended two seconds before; the last learns from everything."""
    learner = Offset()
    whole = samples(in_turn(42), tilt=2.5)
    verdict, until_s = train_and_judge(whole, JOB, personal=learner, generic=Offset(), pooled=lambda _: None)
    assert verdict.passed, verdict.reasons
    assert learner.seen == [(19 + 3 * k, 18.5 + 3 * k) for k in range(7)] + [(42, 41.5)]
    assert until_s == 41.5
    assert (verdict.n_trained, verdict.n_judged, verdict.n_blocks) == (42, 21, 7)


def test_origins_are_bounded() -> None:
    """Of two hundred stretches a head is trained eight times to be judged, and once to serve."""
    learner = Offset()
    train_and_judge(samples(in_turn(600), tilt=2.5), JOB, personal=learner, generic=Offset(), pooled=lambda _: None)
    assert len(learner.seen) == DEFAULT_GATE.human_origins + 1


def test_a_class_that_was_not_known_yet_judges_nobody() -> None:
    """Fear comes in the later half for the first time: its first stretch is left out, the next is judged."""
    label = in_turn(60)
    label[33:36] = label[45:48] = EMOTIONS.index("fear")
    verdict, _ = train_and_judge(
        samples(label, tilt=2.5), JOB, personal=Offset(), generic=Offset(), pooled=lambda _: None
    )
    assert verdict.n_judged == 27
    assert "fear" in verdict.classes


def test_old_words_do_not_keep_new_labels_of_the_group_out() -> None:
    """Once the group has said more since than people did before, it judges, and what people said is learnt from."""
    people = samples(in_turn(42), tilt=2.5)
    later = samples(in_turn(900, 7), origin=Origin.GROUP, tilt=2.5, start_s=1000.0)
    both, learner = joined(people, later), Offset()
    split = split_in_time(both.time_s)
    train_and_judge(both, JOB, personal=learner, generic=Offset(), pooled=lambda _: None)
    assert learner.seen == [(int(split.earlier.sum()), float(both.time_s[split.earlier][-1]))]


def test_labels_that_are_rather_wrong_than_right_say_nothing_of_how_faces_differ() -> None:
    """Ten of ninety seconds are called by another's name: the silhouette is that without them; people's words all count."""
    whole = samples(in_turn(1800, 30), origin=Origin.GROUP)
    wrong = np.arange(1800) % 90 >= 80
    called = np.where(wrong, HAPPY, whole.label)
    by_group = replace(whole, target=np.eye(7)[called])
    found = [
        silhouette(s) for s in (whole.take(~wrong), by_group, replace(by_group, origin=np.full(1800, Origin.SHEET)))
    ]
    assert found[1] == pytest.approx(found[0], abs=0.01)
    assert found[2] < found[0] - 0.1


def test_what_is_never_read_as_it_is_labelled_still_differs() -> None:
    """Sadness that the generic heads call neutral, and that looks otherwise: its labels are not left out for that."""
    label = np.where(in_turn(1800, 30) == HAPPY, NEUTRAL, in_turn(1800, 30))
    known = samples(label, origin=Origin.GROUP)
    known.pixel[label == SAD] = np.eye(7)[NEUTRAL] * 3 - np.eye(7)[SAD] * 2
    apart = np.where(label == SAD, 3.0, -3.0)[:, None] + np.random.default_rng(0).normal(0, 0.3, (1800, 2))
    assert silhouette(replace(known, landmark=apart.astype(np.float32))) > 0.1


def silhouette(known: Samples) -> float:
    """Of what was learnt from."""
    verdict, _ = train_and_judge(known, JOB, personal=Offset(), generic=Offset(), pooled=lambda _: None)
    assert verdict.figures is not None
    return verdict.figures.silhouette


@pytest.mark.parametrize("seed", range(3))
def test_words_that_have_nothing_to_do_with_the_face_do_not_pass(seed: int) -> None:
    """The same stretches, said of anything."""
    rng = np.random.default_rng(seed)
    label = in_turn(42)
    said = CLASSES[rng.integers(0, 3, 14)].repeat(3)
    verdict, _ = train_and_judge(
        replace(samples(label), target=np.eye(7)[said]),
        JOB,
        personal=Offset(),
        generic=Offset(),
        pooled=lambda _: None,
    )
    assert not verdict.passed


def test_what_a_person_called_wrong_may_change() -> None:
    """Twenty sure generic readings, all turned: as many as people had agreed with count."""
    label = in_turn(60)
    generic, personal = np.full((60, 7), 0.01), np.full((60, 7), 0.01)
    # Wrong on the first twenty, where the personal head is right; unsure on the rest.
    generic[20:, NEUTRAL] += 0.4
    generic[np.arange(20), (label[:20] + 1) % 7] = 1.0
    personal[np.arange(60), label] = 0.6
    generic, personal = (p / p.sum(axis=1, keepdims=True) for p in (generic, personal))
    found = []
    for human in (None, np.ones(60, dtype=np.bool_), np.arange(60) >= 10):
        judged = Judged(np.arange(60) * 10.0, personal, generic, np.eye(7)[label], tuple(CLASSES), human=human)
        verdict = judge(judged, n_trained=60, silhouette=0.5, pooled_silhouette=None, seed=0)
        assert verdict.figures is not None
        found.append(verdict.figures.n_flipped)
    n_sure = int((generic.max(axis=1) >= DEFAULT_GATE.confident).sum())
    assert found == [n_sure, 0, int((generic[:10].max(axis=1) >= DEFAULT_GATE.confident).sum())]
    assert n_sure > 0
