"""The demo's last word."""

from builders import fused, p
from videos import run

from daemon.demo.call import make_script
from daemon.demo.run import Transcript, compare
from daemon.session import SessionInfo
from pipeline.group import synthesise
from pipeline.seating import pseudonym
from pipeline.types import CallSecond
from pipeline.wire import Stamp, Versions

INFO = SessionInfo(Stamp("demo", "b"), "seed", "demo", Versions("pixel-1", "landmark-1"), 2)


def transcript(n_seconds: int, shift: int = 0) -> Transcript:
    """Readings that say what the script says, for everybody but the one at `shift`, who always says fear."""
    script, kept = make_script(n_seconds), Transcript()
    for at in range(n_seconds):
        readings = tuple(
            fused(pseudonym("seed", i), at, p(fear=1.0) if shift and i == shift else p(**{person.emotions[at]: 1.0}))
            for i, person in enumerate(script.people)
        )
        run(kept.second(INFO, CallSecond(at, readings, synthesise(at, readings), (), ())))
    run(kept.status(INFO, "ended", 0.0, None))
    run(kept.events(INFO, ()))
    return kept


def test_readings_that_agree_are_all_right() -> None:
    """Who says what the script says is right throughout."""
    text = compare(make_script(12), transcript(12), "seed")
    assert "group 100%, everybody 100%" in text


def test_readings_that_do_not_agree_are_counted() -> None:
    """One of four who is always wrong lowers everybody's figure to three quarters and has 0 % of their own."""
    text = compare(make_script(12), transcript(12, shift=2), "seed")
    assert "everybody 75%" in text
    name = make_script(12).people[2].name
    assert f"{name}      0%" in text


def test_a_demo_that_was_stopped_is_compared_as_far_as_it_went() -> None:
    """Five seconds of a script of sixty are judged by those five; before the first second nothing is right."""
    assert "everybody 100%" in compare(make_script(60), transcript(5), "seed")
    assert "group" in compare(make_script(60), Transcript(), "seed")
