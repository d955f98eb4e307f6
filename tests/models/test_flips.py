"""Which changes of confident readings count: people's word, one misread expression, and the ways to be fooled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.personal.flips import Flips, Said, flips_of
from pipeline.emotions import EMOTIONS
from pipeline.metrics import I64

ANGRY, HAPPY, SAD, NEUTRAL = (EMOTIONS.index(name) for name in ("anger", "happiness", "sadness", "neutral"))


def flips(generic: I64, personal: I64, label: I64, *, human: object = None, confident: object = None) -> Flips:
    """All confident, no label a person's, unless told."""
    n = len(label)
    sure = np.ones(n, dtype=np.bool_) if confident is None else np.asarray(confident)
    asked = np.zeros(n, dtype=np.bool_) if human is None else np.asarray(human)
    return flips_of(Said(generic, personal, label, sure, asked), n_runs=5, level=0.9, n_resamples=500, seed=0)


def in_turn(n: int, *classes: int, run_s: int = 5) -> I64:
    """(n,) these classes in turn, each for so many seconds."""
    return np.array(classes)[np.arange(n) // run_s % len(classes)]


def test_a_resting_face_that_is_called_sad_may_be_corrected() -> None:
    """Neutral is read as sad, happiness as it is; five stretches or more whose labels say neutral let all of it through."""
    label = in_turn(60, NEUTRAL, HAPPY)
    generic = np.where(label == NEUTRAL, SAD, HAPPY)
    found = flips(generic, label, label)
    assert found.changed.sum() == found.confirmed.sum() == found.excused.sum() == 30
    assert not found.counted.any()


def test_four_stretches_are_too_few() -> None:
    """However long they are: labels of one stretch are one observation."""
    for n_stretches, confirmed in ((4, 0), (5, 50)):
        label = in_turn(n_stretches * 20, NEUTRAL, HAPPY, run_s=10)
        found = flips(np.where(label == NEUTRAL, SAD, HAPPY), label, label)
        assert found.changed.sum() == 10 * n_stretches
        assert found.confirmed.sum() == confirmed


def test_labels_that_agree_with_the_generic_head_confirm_nothing() -> None:
    """The group looks sad, and is: who turns that into neutral does harm."""
    label = in_turn(60, SAD, HAPPY)
    found = flips(label, np.where(label == SAD, NEUTRAL, HAPPY), label)
    assert found.counted.sum() == 30


def test_labels_that_say_one_class_always_confirm_nothing() -> None:
    """A head that says what is said most often agrees with most labels, and knows nothing."""
    label = in_turn(80, NEUTRAL, NEUTRAL, NEUTRAL, SAD)
    generic = in_turn(80, SAD, SAD, HAPPY, SAD, HAPPY, HAPPY, SAD, run_s=2)
    found = flips(generic, np.full(80, NEUTRAL), label)
    assert (found.changed & (label == NEUTRAL)).sum() > 2 * (found.changed & (label == SAD)).sum()
    assert not found.confirmed.any()


def test_only_one_of_two_expressions_is_believed_to_be_misread() -> None:
    """Every class is called by another's name: sadness is excused, the others count; of sadness and anger the more frequent."""
    generic = in_turn(70, SAD, HAPPY, ANGRY, SAD, NEUTRAL)
    other = np.arange(7)
    other[[SAD, HAPPY, ANGRY, NEUTRAL]] = [HAPPY, NEUTRAL, SAD, ANGRY]
    found = flips(generic, other[generic], other[generic])
    assert found.confirmed.sum() == (generic == SAD).sum()
    assert found.counted.sum() == (generic != SAD).sum() > 0


def test_no_face_looks_happy_by_nature() -> None:
    """Labels that call what is read as happy neutral, again and again, let nothing through."""
    label = in_turn(60, NEUTRAL, SAD)
    found = flips(np.where(label == NEUTRAL, HAPPY, SAD), label, label)
    assert found.counted.sum() == 30


def test_a_person_is_believed_of_the_second_they_spoke_of() -> None:
    """Called wrong: excused, in one stretch too; called right: counted; what a person says confirms no other second."""
    label = np.array([NEUTRAL, SAD, NEUTRAL, NEUTRAL])
    generic, personal = np.full(4, SAD), np.full(4, NEUTRAL)
    found = flips(generic, personal, label, human=[True, True, False, False])
    assert found.called_wrong.tolist() == [True, False, False, False]
    assert found.counted.tolist() == [False, True, True, True]


def test_unsure_readings_may_change() -> None:
    """They are nobody's business here."""
    label = in_turn(20, NEUTRAL, HAPPY)
    found = flips(np.full(20, SAD), label, label, confident=np.zeros(20, dtype=np.bool_))
    assert not found.changed.any()
    assert not found.excused.any()


@pytest.mark.parametrize("run_s", [1, 5, 25])
def test_labels_by_chance_confirm_seldom(run_s: int) -> None:
    """Of 300 faces in three classes, with labels that have nothing to do with them: at most a tenth."""
    n_confirmed = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        classes = np.array([HAPPY, SAD, NEUTRAL])
        generic, label = (rng.choice(classes, 300 // run_s, p=[0.2, 0.3, 0.5]).repeat(run_s) for _ in range(2))
        # What the head learnt is which label is the most frequent.
        personal = np.where(rng.random(300) < 0.5, NEUTRAL, generic)
        n_confirmed += flips(generic, personal, label).confirmed.any()
    assert n_confirmed <= 30


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 3, st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_every_change_is_counted_or_excused_by_somebody(rows: list[tuple[int, int, int, bool, bool]]) -> None:
    """Counted and excused ones are all changes, none twice; the group excuses one expression at most."""
    generic, personal, label = (np.array([row[k] for row in rows]) for k in range(3))
    confident, human = (np.array([row[k] for row in rows]) for k in (3, 4))
    found = flips(generic, personal, label, confident=confident, human=human)
    assert (found.counted ^ found.excused).tolist() == found.changed.tolist()
    assert not (found.called_wrong & found.confirmed).any()
    assert not (found.confirmed & human).any()
    assert len(np.unique(generic[found.confirmed])) <= 1
    assert set(generic[found.confirmed].tolist()) <= {ANGRY, SAD}
    assert found.changed.tolist() == (confident & (generic != personal)).tolist()
