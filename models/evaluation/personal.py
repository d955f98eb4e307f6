"""Generic against personal models, person by person and strictly forward in time (PERSONAL, TRANSFER).

A row of the data is a still, or a span of a video from which several samples come; it is judged once, by the mean over its
samples. The classes of a person are those with enough rows; both models answer among these alone.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.evaluation.contest import PERSONAL_IS, Known, contest, drawn_evenly
from models.evaluation.folds import SPLITS, Fold
from models.personal.heads import Arms
from models.personal.metrics import mcnemar_p, mean_interval, scores, uar_gain_interval
from models.personal.samples import Samples
from pipeline.emotions import EMOTIONS, F64, N_EMOTIONS
from pipeline.interpretable import Baseline
from pipeline.metrics import I64, Bool

Progress = Callable[[str, int, int], None]
"""Called with what is being done, steps done and steps in all."""

ENOUGH: Final = 10
"""Rows of a class that make it one of a person's, where some person has two such classes; else `FEW_ENOUGH`."""
FEW_ENOUGH: Final = 2

EMBEDDED: Final = ("offset", "head")
"""Learners that need the pictures, not only the 51 features."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """n samples of several people, as they were read from the data.

    samples: Their `time_s` is their order in time within the person. Rows without embeddings are nan.
    subject, group: (n,) names. order: (n,) moment of the row; row: (n,) its number.
    ratings: (n, 2) valence and arousal, nan where not rated.
    excluded: what was left out, with the reason.
    """

    samples: Samples
    subject: NDArray[np.str_]
    group: NDArray[np.str_]
    order: F64
    row: I64
    ratings: F64
    excluded: tuple[Mapping[str, Any], ...] = ()

    def __len__(self) -> int:
        """How many samples."""
        return len(self.samples)

    def take(self, rows: I64 | Bool) -> "Material":
        """These samples; nothing is excluded of them."""
        return Material(
            self.samples.take(rows),
            self.subject[rows],
            self.group[rows],
            self.order[rows],
            self.row[rows],
            self.ratings[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What came of one person and learner: (m,) truth and group of each judged row, (m, 7) answers by condition."""

    truth: I64
    group: NDArray[np.str_]
    answers: Mapping[str, F64]


def evaluate_personal(
    material: Material,
    learners: Sequence[str],
    generic: Arms,
    *,
    split: str = "rolling",
    min_per_class: int | None = None,
    seed: int = 0,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """The object of `attuned evaluate personal --json`, but for valence and arousal.

    - `subjects`: subject, then learner, then `generic` and `personal`, each with `f1`, `uar`, `auc`, `accuracy` and `n` judged
      rows; `gain` in UAR with `gain_ci95` (bootstrap over groups) and the `p_value` of McNemar's exact test;
      `conditions` with the same figures for `no_transfer`, `transfer_0` and `transfer_100`, null where there is none.
    - `classes`: subject, then the classes that count.
    - `summary`: learner, then how many subjects are `better`, `worse` and `equal` in UAR, of `n_subjects`; `mean_gain` with
      `mean_gain_ci95` (bootstrap over subjects); rows `won` and `lost` and the pooled `p_value` of McNemar's test;
      `significantly_worse`, the subjects that are so at 5 %.
    - `excluded`: a list of `what`, `reason` and `n`; `split`, `min_per_class` as used.
    """
    enough = min_per_class or default_enough(material)
    shown = {name: classes_of(material, name, enough) for name in dict.fromkeys(material.subject.tolist())}
    excluded = [dict(line) for line in material.excluded]
    people = {name: classes for name, classes in shown.items() if classes.sum() > 1}
    excluded += [
        {"what": name, "reason": f"too few: fewer than two classes of {enough} rows", "n": _n_rows(material, name)}
        for name in shown
        if name not in people
    ]
    subjects: dict[str, dict[str, Any]] = {}
    outcomes: dict[str, list[Judged]] = {learner: [] for learner in learners}
    steps, done = len(people) * len(learners), 0
    for name, classes in people.items():
        own = of_subject(material, name, classes)
        folds = list(SPLITS[split](own.order, own.group, own.samples.label))
        for learner in learners:
            progress("people and learners", done, steps)
            done += 1
            why_not = None if folds else "nothing later to judge after two classes were seen"
            if learner in EMBEDDED and not np.isfinite(own.samples.pixel).all():
                why_not = "no pictures, only features"
            judged = None
            if why_not is None:
                others = everybody_else(material, name, classes, learner, seed)
                judged = judge(own, folds, others, learner, generic, classes, seed)
                if len(judged.answers) < 2:  # noqa: PLR2004 (generic and personal)
                    why_not = "nobody else shows these classes"
                elif len(np.unique(judged.truth)) < 2:  # noqa: PLR2004
                    why_not = "what is later shows one class only"
            if judged is None or why_not is not None:
                excluded.append({"what": f"{name}, {learner}", "reason": why_not, "n": _n_rows(own, name)})
                continue
            subjects.setdefault(name, {})[learner] = told(judged, learner, seed)
            outcomes[learner].append(judged)
    progress("people and learners", steps, steps)
    return {
        "subjects": subjects,
        "classes": {name: [EMOTIONS[c] for c in np.flatnonzero(people[name])] for name in subjects},
        "summary": {
            learner: summary({name: each[learner] for name, each in subjects.items() if learner in each}, seed)
            for learner in learners
        },
        "excluded": excluded,
        "split": split,
        "min_per_class": enough,
    }


def default_enough(material: Material) -> int:
    """`ENOUGH` where some person has two classes of so many rows, else `FEW_ENOUGH`."""
    names = dict.fromkeys(material.subject.tolist())
    return ENOUGH if any(classes_of(material, name, ENOUGH).sum() > 1 for name in names) else FEW_ENOUGH


def classes_of(material: Material, subject: str, enough: int) -> Bool:
    """(7,) whether a person has so many rows of the class."""
    mine = material.subject == subject
    _, first = np.unique(material.row[mine], return_index=True)
    counts = np.bincount(material.samples.label[mine][first], minlength=N_EMOTIONS)
    return np.asarray(counts >= enough)


def of_subject(material: Material, subject: str, classes: Bool) -> Material:
    """A person's samples of these classes, in the order of time."""
    own = material.take((material.subject == subject) & classes[material.samples.label])
    return own.take(np.lexsort((own.samples.time_s, own.row, own.order)))


def everybody_else(material: Material, subject: str, classes: Bool, learner: str, seed: int) -> Known | None:
    """Everybody else's samples of these classes, as many of each, each measured against their own resting face.

    None where a class is missing, or where the learner starts from the shipped models instead.
    """
    if learner in EMBEDDED:
        return None
    rows = np.flatnonzero((material.subject != subject) & classes[material.samples.label])
    if classes.sum() > len(np.unique(material.samples.label[rows])):
        return None
    rows = rows[drawn_evenly(material.samples.label[rows], classes, seed=seed)]
    pool = material.take(rows)
    features = pool.samples.interpretable.copy()
    for name in np.unique(pool.subject):
        rest = Baseline.of(material.samples.interpretable[material.subject == name])
        theirs = pool.subject == name
        features[theirs] = rest.z_scores(features[theirs])
    return Known(replace(pool.samples, interpretable=features), pool.subject)


def judge(
    own: Material,
    folds: Sequence[Fold],
    others: Known | None,
    learner: str,
    generic: Arms,
    classes: Bool,
    seed: int,
) -> Judged:
    """What a learner says of every later row, over all folds."""
    run = contest(learner, generic)
    truth, group, said = [], [], []
    for fold in folds:
        earlier, later = own.take(fold.earlier), own.take(fold.later)
        answers = run(Known(earlier.samples, earlier.group), later.samples, others, classes, seed)
        _, first, row = np.unique(later.row, return_index=True, return_inverse=True)
        truth.append(later.samples.label[first])
        group.append(later.group[first])
        said.append({condition: _mean_by(row, p) for condition, p in answers.items()})
    conditions = said[0]
    return Judged(
        np.concatenate(truth),
        np.concatenate(group),
        {condition: np.concatenate([part[condition] for part in said]) for condition in conditions},
    )


def told(judged: Judged, learner: str, seed: int) -> dict[str, Any]:
    """The figures of one person and learner."""
    generic, personal = judged.answers["transfer_0"], judged.answers[PERSONAL_IS[learner]]
    said_generic, said_personal = (p.argmax(axis=1).astype(np.int64) for p in (generic, personal))
    won, lost = _won_and_lost(judged, learner)
    of = {condition: numbers(asdict(scores(judged.truth, p))) for condition, p in judged.answers.items()}
    gain = scores(judged.truth, personal).uar - scores(judged.truth, generic).uar
    interval = uar_gain_interval(judged.truth, said_generic, said_personal, judged.group, seed=seed)
    return {
        "generic": of["transfer_0"],
        "personal": of[PERSONAL_IS[learner]],
        "gain": number(gain),
        "gain_ci95": [number(end) for end in interval],
        "won": won,
        "lost": lost,
        "p_value": mcnemar_p(won, lost),
        "conditions": {condition: of.get(condition) for condition in ("no_transfer", "transfer_0", "transfer_100")},
    }


def summary(subjects: Mapping[str, Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Over all people that a learner was judged on."""
    gains = np.array([figures["gain"] for figures in subjects.values()], dtype=np.float64)
    won, lost = (sum(figures[key] for figures in subjects.values()) for key in ("won", "lost"))
    return {
        "n_subjects": len(gains),
        "better": int((gains > 0).sum()),
        "worse": int((gains < 0).sum()),
        "equal": int((gains == 0).sum()),
        "mean_gain": number(float(gains.mean()) if len(gains) else math.nan),
        "mean_gain_ci95": [number(end) for end in mean_interval(gains, seed=seed)],
        "won": won,
        "lost": lost,
        "p_value": mcnemar_p(won, lost),
        "significantly_worse": [
            name
            for name, figures in subjects.items()
            if figures["p_value"] < 0.05 and figures["lost"] > figures["won"]  # noqa: PLR2004
        ],
    }


def number(value: float) -> float | None:
    """JSON has no nan."""
    return None if math.isnan(value) else float(value)


def numbers(table: Mapping[str, float]) -> dict[str, float | int | None]:
    """The same of a table; counts stay counts."""
    return {key: value if isinstance(value, int) else number(value) for key, value in table.items()}


def reasons(excluded: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """How many things were left out for which reason."""
    return Counter(str(line["reason"]).partition(":")[0] for line in excluded)


def _won_and_lost(judged: Judged, learner: str) -> tuple[int, int]:
    generic, personal = (
        judged.answers[key].argmax(axis=1) == judged.truth for key in ("transfer_0", PERSONAL_IS[learner])
    )
    return int((personal & ~generic).sum()), int((generic & ~personal).sum())


def _mean_by(row: I64, values: F64) -> F64:
    """(r, k) means of (n, k) values over equal numbers in (n,) from 0 to r - 1."""
    n = np.bincount(row)
    return np.stack([np.bincount(row, weights=column) for column in values.T], axis=1) / n[:, None]


def _n_rows(material: Material, subject: str) -> int:
    return len(np.unique(material.row[material.subject == subject]))
