"""Who may be looked at."""

import pytest

from daemon import consent
from daemon.consent import Answers, ConsentGate
from pipeline.seating import Seat


def seat(participant: str, *, certain: bool = True, assumed: int = 0) -> Seat:
    """Somebody somewhere."""
    return Seat(participant, (0, 0, 1, 1), certain=certain, assumed=assumed)


def test_required_reads_only_who_agreed_and_is_known() -> None:
    """Nobody by default; who agreed only while it is certain that it is them."""
    gate = ConsentGate("required")
    assert gate.readable([seat("a"), seat("b")]) == frozenset()
    gate.set("a", granted=True)
    assert gate.readable([seat("a"), seat("b")]) == {"a"}
    assert gate.readable([seat("a", certain=False), seat("b")]) == frozenset()
    assert [gate.state(who) for who in "ab"] == ["granted", "required"]


def test_declared_reads_everybody_while_nobody_denied() -> None:
    """Where everybody agreed it does not matter who is who."""
    gate = ConsentGate("declared")
    assert gate.readable([seat("a"), seat("b", certain=False)]) == {"a", "b"}
    assert gate.state("a") == "granted"


def test_who_denied_may_come_back_as_somebody_new() -> None:
    """Beside somebody who denied the others are read on; once that one is out of sight, nobody new is, unless asked."""
    gate = ConsentGate("declared")
    gate.set("a", granted=False)
    assert gate.readable([seat("a"), seat("b"), seat("c", certain=False)]) == {"b"}
    # a is gone and n came: n may be a.
    assert gate.readable([seat("b"), seat("n")]) == {"b"}
    gate.set("n", granted=True)
    assert gate.readable([seat("b"), seat("n")]) == {"b", "n"}
    assert [gate.state(who) for who in "abn"] == ["denied", "granted", "granted"]


def test_setting_tells_whether_anything_changed() -> None:
    """Twice the same is one change."""
    gate = ConsentGate("required", {"a": True})
    assert gate.set("a", granted=True) is False
    assert gate.set("a", granted=False) is True
    assert gate.set("b", granted=False) is True


def test_of_too_many_a_gate_knows_less_and_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was seen longest ago counts as not seen: not told from who denied, and asked once more."""
    monkeypatch.setattr(consent, "SEEN_MAX", 2)
    gate = ConsentGate("declared")
    gate.set("d", granted=False)
    assert gate.readable([seat("d"), seat("a"), seat("b")]) == {"a", "b"}
    assert gate.readable([seat("d"), seat("c")]) == {"c"}
    # d may be anybody now of whom it is not known that they were seen beside d.
    assert gate.readable([seat("a"), seat("b"), seat("c")]) == {"c"}
    gate = ConsentGate("required", {"a": True})
    for who in "abc":
        gate.lapse([seat(who, assumed=1)])
    gate.set("a", granted=True)
    assert gate.lapse([seat("a", assumed=1)]) == ["a"]


def test_consent_lapses_where_identity_is_assumed() -> None:
    """Who is taken to be the same without having been recognised has to agree again, once; a denial stands."""
    gate = ConsentGate("required", {"a": True, "b": False})
    assert gate.lapse([seat("a"), seat("b")]) == []
    assert gate.lapse([seat("a", assumed=1), seat("b", assumed=1)]) == ["a"]
    assert gate.readable([seat("a", assumed=1)]) == frozenset()
    gate.set("a", granted=True)
    assert gate.lapse([seat("a", assumed=1)]) == []
    assert gate.readable([seat("a", assumed=1)]) == {"a"}
    assert gate.state("b") == "denied"


def test_who_is_assumed_is_not_known_to_be_no_denier() -> None:
    """Beside somebody who denied, only who has been recognised all along counts as somebody else."""
    gate = ConsentGate("declared", {"b": True})
    gate.set("a", granted=False)
    assert gate.readable([seat("a"), seat("b"), seat("c")]) == {"b", "c"}
    assert gate.lapse([seat("b", assumed=1), seat("c", assumed=1)]) == []
    assert gate.readable([seat("b", assumed=1), seat("c", assumed=1)]) == frozenset()


def test_a_denier_who_is_assumed_may_be_somebody_else() -> None:
    """Whoever has the id now is refused, and nobody new is read until it is known who that is."""
    gate = ConsentGate("declared")
    gate.set("a", granted=False)
    assert gate.readable([seat("a"), seat("b")]) == {"b"}
    assert gate.lapse([seat("a", assumed=1), seat("b")]) == []
    assert gate.readable([seat("a", assumed=1), seat("b"), seat("n")]) == {"b"}
    gate.set("a", granted=False)
    assert gate.readable([seat("a", assumed=1), seat("b"), seat("n")]) == {"b", "n"}


def test_a_denial_of_an_earlier_session_stands() -> None:
    """Who denied before is not read, and the others are, whether or not that one is there today."""
    gate = ConsentGate("declared", {"a": False})
    assert gate.readable([seat("a"), seat("b")]) == {"b"}
    assert gate.readable([seat("b"), seat("n")]) == {"b", "n"}


def test_who_leaves_a_room_is_asked_again() -> None:
    """Ids of a room can be taken by others: an agreement ends with leaving, a denial does not."""
    gate = ConsentGate("required", {"a": True, "b": False})
    assert gate.left(["a", "b", "c"]) == ["a"]
    assert [gate.state(who) for who in "abc"] == ["required", "denied", "required"]
    assert ConsentGate("declared", {"a": True}).left(["a"]) == []


def test_denials_outlive_sessions_and_agreements_do_not() -> None:
    """Of what was said before or during a session, the next one of that name knows the denials."""
    answers = Answers(10)
    answers.note("s", "a", granted=False, for_next=True)
    answers.note("s", "b", granted=True, for_next=True)
    assert answers.take("s") == {"a": False, "b": True}
    assert answers.take("s") == {"a": False}
    answers.note("s", "a", granted=True, for_next=False)
    answers.note("s", "c", granted=False, for_next=False)
    answers.note("s", "c", granted=True, for_next=True)
    assert answers.take("s") == {"c": True}
    assert answers.take("s") == {}
    answers.note("s", "d", granted=True, for_next=False)
    assert answers.take("s") == {}


def test_too_many_answers_fail_closed() -> None:
    """Agreements that find no room are lost; a denial that finds none makes every later session ask."""
    answers = Answers(1)
    answers.note("s", "a", granted=False, for_next=True)
    answers.note("s", "b", granted=True, for_next=True)
    assert not answers.is_full
    answers.note("t", "b", granted=False, for_next=True)
    assert answers.is_full
    answers.note("s", "a", granted=True, for_next=True)
    assert answers.take("s") == {"a": True}
