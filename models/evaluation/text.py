"""What an evaluation found as plain text, 100 columns wide where the models' names are not long."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from models.evaluation.answers import ARMS, FUSED
from models.evaluation.conditions import AS_IS
from pipeline.emotions import EMOTIONS

LABEL_SETS: Final[Mapping[str, str]] = {"ferplus": "FER+ majority", "original": "original labels"}
"""What the sets of labels are called in tables and pictures, the one that matters more first."""

_WIDTH: Final = 100
_WITHOUT: Final = "without_near_duplicates"
_HEADER: Final = ("model", "accuracy", "95 %", "all", "read", "UAR", "F1", "log-loss", "ECE", "x-fit", "AURC")
_LEGEND: Final = (
    "accuracy, UAR (mean recall), F1 (mean over classes), log-loss, ECE: of the faces that the model can read, whose "
    "share is `read`; all: faces it cannot read count as wrong; x-fit: ECE with the temperature fitted on the other "
    "half of these faces; AURC: mean error when only the surest answers are given. "
    "Pictures of one person are taken as independent, so intervals are too narrow where there are many of each."
)
_AS_IS_LEGEND: Final = (
    f"{AS_IS}: undegraded, but read like the degraded ones, by meshes found in 48 px pictures instead of larger ones."
)


def format_evaluation(result: Mapping[str, Any]) -> str:
    """The object of `--json` as tables and sentences; sets of labels that no face has are left out."""
    parts: list[str] = []
    for labels, title in LABEL_SETS.items():
        if _n(result, labels):
            parts += _of_labels(result, labels, title)
    if parts:
        parts.append(_paragraph(_LEGEND))
    else:
        parts.append("no face has a label: nothing to measure")
    parts.append("\n".join(["Time per face on one thread, median (95th percentile)", *_timings(result)]))
    parts += _conditions(result)
    return "\n\n".join(parts)


def _of_labels(result: Mapping[str, Any], labels: str, title: str) -> Iterator[str]:
    plain = {name: model[labels] for name, model in result.items()}
    yield "\n".join([f"{title}: {_n(result, labels)} faces", *_table([_HEADER, *_main_rows(plain)])])
    if all(_WITHOUT in model for model in result.values()):
        without = {name: model[_WITHOUT][labels] for name, model in result.items()}
        n = next(iter(without.values()))["n"]
        if n:
            heading = f"{title}, without near-duplicates of the training data: {n} faces"
            yield "\n".join([heading, *_table([_HEADER, *_main_rows(without)])])
    rows = [("model", *EMOTIONS), *((name, *_classes(found)) for name, found in plain.items())]
    yield "\n".join([f"{title}: recall / F1 of each class", *_table(rows)])
    sentences = [_paragraph(sentence) for sentence in _comparisons(plain)]
    if sentences:
        yield "\n".join(sentences)


def _main_rows(plain: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for name, found in plain.items():
        low, high = found["accuracy_ci95"]
        yield (
            name,
            _percent(found["accuracy"]),
            "-" if low is None else f"{100 * low:.1f} to {100 * high:.1f}",
            _percent(found["accuracy_all"]),
            _percent(found["coverage"]),
            *(_digits(found[key]) for key in ("uar", "macro_f1", "log_loss", "ece", "ece_cross_fitted", "aurc")),
        )


def _classes(found: Mapping[str, Any]) -> list[str]:
    return [f"{_digits(found['recall'][emotion], 2)}/{_digits(found['f1'][emotion], 2)}" for emotion in EMOTIONS]


def _comparisons(plain: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A sentence for each pair of single models, and one for the mean against the better of its two.

    Where both arms are measured, theirs alone: `--json` has every pair.
    """
    told: set[frozenset[str]] = set()
    arms = frozenset(ARMS)
    for name, found in plain.items():
        for other, shared in found.get("complementarity", {}).items():
            pair = frozenset((name, other))
            if shared["n"] and pair not in told and (pair == arms or not arms <= set(plain)):
                told.add(pair)
                shares = {key: _percent(share) for key, share in shared["shares"].items()}
                yield (
                    f"{name} and {other}, {shared['n']} faces that both read: both right {shares['both_right']}, only "
                    f"{name} {shares['only_this']}, only {other} {shares['only_other']}, neither "
                    f"{shares['none_right']}; of what either gets right, {name} alone {_percent(shared['exclusive_this'])} "
                    f"and {other} alone {_percent(shared['exclusive_other'])}."
                )
    against = plain.get(FUSED, {}).get("against_best")
    if against and against["both_read"]["n"]:
        both, everything = against["both_read"], against["all"]
        yield (
            f"{FUSED}, on the {both['n']} faces that both its models read: {_against(both)}; "
            f"on all {everything['n']}: {_against(everything)}."
        )


def _against(found: Mapping[str, Any]) -> str:
    low, high = (_points(end) for end in found["difference_ci95"])
    return (
        f"{_points(found['difference'])} points ({low} to {high}) against {found['model']}, the better of the two "
        f"there, {found['won']} faces won and {found['lost']} lost"
    )


def _timings(result: Mapping[str, Any]) -> list[str]:
    batches = list(next(iter(result.values()))["inference_ms"])
    rows: list[tuple[str, ...]] = [("model", *(f"{batch.removeprefix('batch_')} at once" for batch in batches))]
    for name, model in result.items():
        times = (model["inference_ms"][batch] for batch in batches)
        cells = ("-" if took is None else f"{took['median']:.2f} ms ({took['p95']:.2f})" for took in times)
        rows.append((name, *cells))
    return _table(rows)


def _conditions(result: Mapping[str, Any]) -> Iterator[str]:
    """A table for each set of labels: every model under every condition, and what it loses by it."""
    names = list(next(iter(result.values())).get("conditions", {}))
    # Read in the same way: pictures cut from larger ones are, without degradation, a condition of their own.
    base = AS_IS if AS_IS in names else ""
    for labels, title in LABEL_SETS.items():
        if not names or not _n(result, labels):
            continue
        rows: list[tuple[str, ...]] = [("condition", "model", "accuracy", "all", "points", "read", "UAR", "points")]
        for condition in names if base else ("", *names):
            for at, (name, model) in enumerate(result.items()):
                before, found = (
                    model["conditions"][key][labels] if key else model[labels] for key in (base, condition)
                )
                lost = [
                    "" if condition == base else _points(_difference(found[key], before[key]))
                    for key in ("accuracy_all", "uar")
                ]
                first = (condition or "as they are") if at == 0 else ""
                accuracy = (_percent(found[key]) for key in ("accuracy", "accuracy_all"))
                rows.append(
                    (first, name, *accuracy, lost[0], _percent(found["coverage"]), _digits(found["uar"]), lost[1])
                )
        yield "\n".join([f"{title}: the same pictures degraded, with the change of `all` and UAR", *_table(rows, 2)])
    if base and any(_n(result, labels) for labels in LABEL_SETS):
        yield _paragraph(_AS_IS_LEGEND)


def _table(rows: Sequence[tuple[str, ...]], n_words: int = 1) -> list[str]:
    """Lines of aligned cells; the first `n_words` columns hold words, the others numbers."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text.ljust(width) if column < n_words else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _paragraph(text: str) -> str:
    """Lines of at most 100 columns; a figure stays beside its per cent sign."""
    together = text.replace(" %", "\0%")
    return textwrap.fill(together, _WIDTH, subsequent_indent="  ", break_on_hyphens=False).replace("\0", " ")


def _n(result: Mapping[str, Any], labels: str) -> int:
    """Faces with a label, the same for every model."""
    return max((int(model[labels]["n"]) for model in result.values()), default=0)


def _difference(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _points(difference: float | None) -> str:
    return "-" if difference is None else f"{100 * difference:+.1f}"


def _digits(value: float | None, n: int = 3) -> str:
    return "-" if value is None else f"{value:.{n}f}"
