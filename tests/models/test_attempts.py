"""What was tried is noted, bounded, and never in the way."""

from pathlib import Path

from models.personal.attempts import FILE, MAX_ATTEMPTS, Attempt, note_attempt, read_attempts

VERDICT = {"n_trained": 10, "n_judged": 5, "classes": ["anger", "fear"], "figures": {"silhouette": 0.3}}


def test_attempts_come_back_in_order_and_the_oldest_go(tmp_path: Path) -> None:
    """As they were, whatever a verdict lacked; the file is for its owner alone."""
    first = Attempt.of(1.0, "head", "personal-1", (), VERDICT)
    assert (first.n_trained, first.n_judged, first.classes, first.figures) == (
        10,
        5,
        ("anger", "fear"),
        {"silhouette": 0.3},
    )
    note_attempt(tmp_path, first)
    note_attempt(tmp_path, Attempt.of(2.0, "head", None, ("it broke",), {}))
    assert read_attempts(tmp_path) == (first, Attempt(2.0, "head", None, ("it broke",), 0, 0, (), None))
    for k in range(MAX_ATTEMPTS):
        note_attempt(tmp_path, Attempt.of(3.0 + k, "head", None, ("no",), None))
    kept = read_attempts(tmp_path)
    assert len(kept) == MAX_ATTEMPTS
    assert kept[0].time_s == 3.0
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_a_damaged_file_begins_anew(tmp_path: Path) -> None:
    """Nothing depends on it."""
    for text in ("{", "[1]", '[{"time_s": 1}]', "null"):
        (tmp_path / FILE).write_text(text)
        assert read_attempts(tmp_path) == ()
    note_attempt(tmp_path, Attempt.of(1.0, "head", None, ("no",), {}))
    assert len(read_attempts(tmp_path)) == 1
