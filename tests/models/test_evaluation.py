"""Measuring models: the figures of the JSON, which faces count, and the bars the shipped models have to clear."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import channel_means, describe

from models.datasets.data import FaceData, load_faces
from models.datasets.meshes import Meshes
from models.errors import DataError, ModelError
from models.evaluation import answers
from models.evaluation import measure as evaluation
from models.evaluation.answers import Answers, Inputs, Measured
from models.evaluation.calibration import fitted_temperature
from models.evaluation.conditions import degraded
from models.evaluation.figures import THRESHOLDS, against_best, complementarity, cross_fitted, figures
from models.external import ExternalPixelModel
from models.manifest import WEIGHTS, read_manifest
from pipeline.emotions import EMOTIONS, softmax

CONTRACT = {
    "n",
    "accuracy",
    "accuracy_ci95",
    "accuracy_all",
    "coverage",
    "uar",
    "f1",
    "macro_f1",
    "log_loss",
    "ece",
    "confusion",
}
PLAIN = {"n", "n_seen", "accuracy", "accuracy_all", "coverage", "uar", "recall"}
ALL = (
    CONTRACT
    | PLAIN
    | {"uar_ci95", "macro_f1_ci95", "log_loss_ci95", "log_loss_cross_fitted"}
    | {"ece_ci95", "ece_cross_fitted", "risk_coverage", "aurc"}
)

OF_SINGLE = ALL | {"temperature_fitted"}


def said(probabilities: np.ndarray, readable: np.ndarray | None = None) -> Answers:
    """Answers of one model, whose logits are the logarithms."""
    readable = np.ones(len(probabilities), dtype=np.bool_) if readable is None else readable
    return Answers(probabilities, probabilities, readable, (np.log(probabilities.clip(1e-12)),), readable)


def certain(*classes: int, unread: tuple[int, ...] = ()) -> Answers:
    """Answers that are sure of these classes."""
    readable = ~np.isin(np.arange(len(classes)), unread)
    return said(np.eye(7)[list(classes)], readable)


def test_figures_worked_by_hand() -> None:
    """Five rows: one without a label, one without a mesh; two of the other three right."""
    truth = np.array([0, 0, 3, 3, -1])
    found = figures(truth, certain(0, 1, 3, 3, 5, unread=(3,)))
    assert set(found) == ALL
    assert (found["n"], found["n_seen"], found["coverage"]) == (4, 3, 3 / 4)
    assert found["accuracy"] == pytest.approx(2 / 3)
    # The unread face counts as wrong: 2 of 4.
    assert found["accuracy_all"] == 2 / 4
    # Anger 1 of 2, happiness 1 of 1.
    assert found["uar"] == pytest.approx((1 / 2 + 1) / 2)
    assert (found["recall"]["anger"], found["recall"]["happiness"], found["recall"]["fear"]) == (1 / 2, 1, None)
    assert (found["f1"]["anger"], found["f1"]["disgust"], found["f1"]["fear"]) == (pytest.approx(2 / 3), 0, None)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    # One certain mistake of three, cut off at 1e-12; certainty is wrong by 1 in one of three.
    assert found["log_loss"] == pytest.approx(12 * np.log(10) / 3)
    assert found["ece"] == pytest.approx(1 / 3)
    assert found["confusion"][0] == [1, 1, 0, 0, 0, 0, 0]
    for figure in ("accuracy", "uar", "macro_f1", "log_loss", "ece"):
        low, high = found[f"{figure}_ci95"]
        assert low <= found[figure] <= high
    # All three answers are equally sure, so they are given together.
    assert [point["threshold"] for point in found["risk_coverage"]] == list(THRESHOLDS)
    assert found["risk_coverage"][-1] == {"threshold": 0.9, "coverage": 1, "accuracy": pytest.approx(2 / 3)}
    assert found["aurc"] == pytest.approx(1 / 3)


def test_unsure_answers_are_held_back() -> None:
    """Confidences 0.82 (right) and 0.46 (wrong): both at 0.4, the first up to 0.8, none at 0.9."""
    rows = np.full((2, 7), 0.03)
    rows[0, 0], rows[1, 1] = 0.82, 0.82
    rows[1, 1], rows[1, 2] = 0.46, 0.39
    points = {point["threshold"]: point for point in figures(np.array([0, 0]), said(rows))["risk_coverage"]}
    assert (points[0.4]["coverage"], points[0.4]["accuracy"]) == (1, 1 / 2)
    assert (points[0.8]["coverage"], points[0.8]["accuracy"]) == (1 / 2, 1)
    assert (points[0.9]["coverage"], points[0.9]["accuracy"]) == (0, None)


@pytest.mark.parametrize("truth", [[-1, -1], [0, 1]])
def test_figures_of_nothing_are_none(truth: list[int]) -> None:
    """Without labels, or without faces that can be read, what is not defined is null in the JSON."""
    found = figures(np.array(truth), certain(0, 0, unread=(0, 1)))
    for figure in ("accuracy", "uar", "ece", "ece_cross_fitted", "log_loss_cross_fitted", "aurc"):
        assert found[figure] is None
    assert found["uar_ci95"] == [None, None]
    assert found["risk_coverage"][0] == {"threshold": 0.3, "coverage": None, "accuracy": None}
    nobody = certain(0, 0, unread=(0, 1))
    found |= complementarity(np.array(truth), nobody, nobody)
    found |= against_best(np.array([-1, -1]), nobody, {"a": nobody})
    assert (found["exclusive_this"], found["shares"]["both_right"], found["all"]["model"]) == (None, None, None)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_cross_fitting_undoes_overconfidence_without_looking() -> None:
    """Logits three times too large: each half's temperature, about 3, serves the other half nearly as well as its own."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(4000, 7))
    truth = np.array([rng.choice(7, p=row) for row in softmax(logits)])
    everywhere = np.ones(4000, dtype=np.bool_)
    too_sure = softmax(3 * logits)
    model = Answers(too_sure, too_sure, everywhere, (3 * logits,), everywhere)
    log_loss, error = cross_fitted(truth, model, seed=1)
    ideal = figures(truth, said(softmax(logits)))
    assert log_loss == pytest.approx(ideal["log_loss"], abs=0.002)
    assert error < 0.03
    assert figures(truth, model)["ece"] > 0.1
    assert cross_fitted(truth, model, seed=1) == (log_loss, error)


def test_cross_fitting_the_mean_fits_both_temperatures() -> None:
    """Two arms of which one is thrice too sure and misses a tenth of the faces: their refitted mean is nearly calibrated."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(4000, 7))
    truth = np.array([rng.choice(7, p=row) for row in softmax(logits)])
    found = rng.random(4000) < 0.9
    pixel, landmark = 3 * logits, logits + rng.normal(size=logits.shape)
    mean = np.where(found[:, None], (softmax(pixel) + softmax(landmark)) / 2, softmax(pixel))
    fused = Answers(mean, mean, np.ones(4000, dtype=np.bool_), (pixel, landmark), found)
    _, error = cross_fitted(truth, fused)
    assert error < 0.04
    assert figures(truth, fused)["ece"] > 0.06


def test_one_face_has_no_halves() -> None:
    """A temperature cannot be fitted on other faces where there are none."""
    assert np.isnan(cross_fitted(np.array([0, -1]), certain(0, 0))).all()


def test_complementarity_is_over_faces_that_both_read() -> None:
    """Of six faces one has no label and one is not read by the other: one of each kind is left."""
    truth = np.array([0, 0, 0, 0, 0, -1])
    this, other = certain(0, 0, 1, 1, 0, 0), certain(0, 1, 0, 1, 0, 0, unread=(4,))
    found = complementarity(truth, this, other)
    assert found["n"] == 4
    assert found["counts"] == {"both_right": 1, "only_this": 1, "only_other": 1, "none_right": 1}
    assert set(found["shares"].values()) == {1 / 4}
    assert (found["exclusive_this"], found["exclusive_other"]) == (1 / 3, 1 / 3)


def test_fused_against_the_better_of_its_models() -> None:
    """On the four faces that both read the second is better (3 of 4); on all five the first is (3 of 5 against 3)."""
    truth = np.zeros(5, dtype=np.int64)
    first, second = certain(0, 1, 1, 0, 0), certain(0, 0, 0, 1, 0, unread=(4,))
    fused = certain(0, 0, 1, 0, 1)
    found = against_best(truth, fused, {"first": first, "second": second}, seed=1)
    both, everything = found["both_read"], found["all"]
    # Fused is right on faces 0, 1 and 3, the second on 0, 1 and 2.
    assert (both["model"], both["n"], both["won"], both["lost"], both["difference"]) == ("second", 4, 1, 1, 0)
    # The first is right on 0, 3 and 4, the second on three as well: the first named of equals.
    assert (everything["model"], everything["n"], everything["won"], everything["lost"]) == ("first", 5, 1, 1)
    low, high = both["difference_ci95"]
    assert -1 <= low <= 0 <= high <= 1


@pytest.fixture
def meshes_given(monkeypatch: pytest.MonkeyPatch, made_up_meshes: Meshes) -> list[np.ndarray]:
    """The made-up pictures have the made-up meshes, whatever is done to them; which pictures were looked at."""
    looked_at: list[np.ndarray] = []

    def find(images: np.ndarray, *, n_workers: int, progress: Callable[[int, int], None] | None) -> Meshes:
        assert (len(images), n_workers) == (32, 2)
        looked_at.append(images)
        if progress is not None:
            progress(32, 32)
        return made_up_meshes

    monkeypatch.setattr(evaluation, "find_meshes", find)
    return looked_at


def test_every_model_against_both_label_sets(meshes_given: list[np.ndarray], made_up_data: FaceData) -> None:
    """Pixel and fused read all pictures, the landmark arms only those with a mesh; near-duplicates are left out."""
    data = replace(made_up_data, near_duplicate=np.arange(32) < 10)
    calls: list[tuple[str, int, int]] = []
    names = ["pixel", "landmark", "fused", "landmark-paper"]
    result = evaluation.evaluate_faces(data, names, progress=lambda *told: calls.append(told)).result
    assert calls == [("meshes", 32, 32)]
    assert list(result) == names
    for name, measured in result.items():
        which = {"versions"} if name == "fused" else {"version", "sha256"}
        assert set(measured) == {"original", "ferplus", "without_near_duplicates", "inference_ms"} | which
        assert measured["original"] == measured["ferplus"]
        compared = ALL | {"against_best"} if name == "fused" else OF_SINGLE | {"complementarity"}
        assert set(measured["original"]) == compared
        assert measured["original"]["coverage"] == (31 / 32 if name.startswith("landmark") else 1)
        assert (measured["ferplus"]["n"], measured["without_near_duplicates"]["ferplus"]["n"]) == (32, 22)
        assert set(measured["inference_ms"]) == {"batch_1", "batch_8"}
        assert 0 < measured["inference_ms"]["batch_8"]["median"] <= measured["inference_ms"]["batch_8"]["p95"]
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    there = result["pixel"]["ferplus"]["complementarity"]
    back = result["landmark"]["ferplus"]["complementarity"]["pixel"]
    assert set(there) == {"landmark", "landmark-paper"}
    assert there["landmark"]["counts"]["only_this"] == back["counts"]["only_other"]
    assert result["fused"]["ferplus"]["against_best"]["both_read"]["n"] == 31
    assert result["fused"]["ferplus"]["against_best"]["all"]["n"] == 32


def test_conditions_degrade_the_pictures_and_find_meshes_anew(
    meshes_given: list[np.ndarray], made_up_data: FaceData
) -> None:
    """Each condition has its own figures; the plain ones are as without; names given twice are measured once."""
    plain = evaluation.evaluate_faces(made_up_data, ["pixel", "landmark"]).result
    calls: list[tuple[str, int, int]] = []
    result = evaluation.evaluate_faces(
        made_up_data,
        ["pixel", "landmark", "pixel"],
        conditions=["mirrored", "dark", "dark"],
        progress=lambda *told: calls.append(told),
    ).result
    assert [what for what, *_ in calls] == ["meshes", "meshes, mirrored", "meshes, dark"]
    np.testing.assert_array_equal(meshes_given[2], made_up_data.images[:, :, ::-1])
    assert list(result) == ["pixel", "landmark"]
    for name, measured in result.items():
        assert measured["original"] == plain[name]["original"]
        assert list(measured["conditions"]) == ["mirrored", "dark"]
        for found in measured["conditions"].values():
            assert set(found) == {"original", "ferplus"}
            assert set(found["ferplus"]) == PLAIN
    alone = replace(made_up_data, images=degraded(made_up_data.images, "dark"))
    expected = evaluation.evaluate_faces(alone, ["pixel"]).result["pixel"]["ferplus"]
    found = result["pixel"]["conditions"]["dark"]["ferplus"]
    assert found == {key: expected[key] for key in PLAIN}


def test_fused_is_the_mean_and_pixel_without_a_mesh(
    weights: Callable[..., Path], made_up_data: FaceData, made_up_meshes: Meshes
) -> None:
    """Half of what each arm gives to the pool where there is a mesh; the first picture has none."""
    inputs = Inputs(made_up_data.images, np.ones(32, dtype=np.bool_), made_up_meshes)
    given = Measured(["fused"], WEIGHTS).answers(inputs)
    pixel, landmark, fused = (given[name] for name in ("pixel", "landmark", "fused"))
    np.testing.assert_array_equal(fused.probabilities[0], pixel.probabilities[0])
    np.testing.assert_allclose(fused.probabilities[1:], (pixel.pool[1:] + landmark.pool[1:]) / 2)
    np.testing.assert_allclose(fused.probabilities.sum(axis=1), 1)
    assert (fused.readable.sum(), landmark.readable.sum()) == (32, 31)


def test_what_is_not_marked_or_not_comparable_has_no_figures(
    meshes_given: list[np.ndarray], made_up_data: FaceData
) -> None:
    """A lone model of data without marked near-duplicates has neither those figures nor a complementarity."""
    measured = evaluation.evaluate_faces(made_up_data, ["pixel"], conditions=["dark"]).result["pixel"]
    assert set(measured) == {"version", "sha256", "original", "ferplus", "inference_ms", "conditions"}
    assert set(measured["ferplus"]) == OF_SINGLE


def test_the_versions_measured_are_told(meshes_given: list[np.ndarray], made_up_data: FaceData) -> None:
    """A single model has the version and the hash of the manifest, the mean of two the versions of both."""
    result = evaluation.evaluate_faces(made_up_data, ["pixel", "fused"]).result
    entries = read_manifest()
    assert (result["pixel"]["version"], result["pixel"]["sha256"]) == (
        entries["pixel"].version,
        entries["pixel"].sha256,
    )
    assert result["fused"]["versions"] == {arm: entries[arm].version for arm in ("pixel", "landmark")}


def test_the_temperature_for_a_description_is_fitted_on_all_faces_that_have_a_label(
    meshes_given: list[np.ndarray], made_up_data: FaceData, made_up_meshes: Meshes
) -> None:
    """Each set of labels has its own, of the faces read alone; where no face has a label there is none."""
    inputs = Inputs(made_up_data.images, np.ones(32, dtype=np.bool_), made_up_meshes)
    (logits,) = Measured(["landmark"], WEIGHTS).answers(inputs)["landmark"].logits
    # Every second of the first twenty gets what the model says, the others what it thinks next likely.
    label = np.where(np.arange(32) < 20, np.argsort(-logits)[np.arange(32), np.arange(32) % 2], -1)
    data = replace(made_up_data, label=label, votes=np.zeros((32, 10), dtype=np.uint8))
    found = evaluation.evaluate_faces(data, ["landmark"])
    expected = fitted_temperature(logits[1:20], label[1:20])
    assert 0.2 < expected < 5
    assert found.result["landmark"]["original"]["temperature_fitted"] == expected
    assert found.result["landmark"]["ferplus"]["temperature_fitted"] is None


def test_without_names_every_model_is_measured(meshes_given: list[np.ndarray], made_up_data: FaceData) -> None:
    """Those of the manifest, and their mean."""
    assert set(evaluation.evaluate_faces(made_up_data).result) == {*read_manifest(), "fused"}


def test_meshes_that_come_with_the_data_are_used(
    meshes_given: list[np.ndarray], made_up_data: FaceData, made_up_meshes: Meshes
) -> None:
    """None are looked for but under conditions and as is; a face that was not found is unread by every model, always."""
    data = replace(made_up_data, meshes=made_up_meshes)
    evaluation.evaluate_faces(data, ["pixel"])
    assert meshes_given == []
    result = evaluation.evaluate_faces(data, ["pixel", "landmark", "fused"], conditions=["dark"]).result
    assert len(meshes_given) == 2
    np.testing.assert_array_equal(meshes_given[0], made_up_data.images)
    np.testing.assert_array_equal(meshes_given[1], degraded(made_up_data.images, "dark"))
    for measured in result.values():
        assert list(measured["conditions"]) == ["as-is", "dark"]
        for found in (measured["ferplus"], *(measured["conditions"][name]["ferplus"] for name in ("as-is", "dark"))):
            assert (found["n"], found["n_seen"]) == (32, 31)
    # As small pictures are read that have no meshes of their own, but for the face that was not found.
    small = replace(data, meshes=None, label=np.where(made_up_meshes.found, data.label, -1))
    alone = evaluation.evaluate_faces(small, ["pixel"]).result["pixel"]["original"]
    as_is = result["pixel"]["conditions"]["as-is"]["original"]
    assert (as_is["accuracy"], as_is["recall"]) == (alone["accuracy"], alone["recall"])


def test_data_without_labels_measure_nothing_but_time(meshes_given: list[np.ndarray], made_up_data: FaceData) -> None:
    """No votes, no labels: null figures; no face found: no time either, where a mesh is read."""
    data = replace(made_up_data, label=np.full(32, -1), votes=np.zeros((32, 10), dtype=np.uint8))
    nothing = Meshes(np.zeros(32, dtype=np.bool_), np.zeros((32, 468, 3), dtype=np.float32))
    for given in (data, replace(data, meshes=nothing)):
        result = evaluation.evaluate_faces(given, ["pixel", "landmark", "fused"], conditions=["dark"]).result
        for measured in result.values():
            assert (measured["ferplus"]["n"], measured["original"]["accuracy"]) == (0, None)
            assert measured["conditions"]["dark"]["ferplus"]["uar"] is None
        assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert {took for measured in result.values() for took in measured["inference_ms"].values()} == {None}


def test_described_models_are_measured_under_their_name(
    meshes_given: list[np.ndarray], made_up_data: FaceData, tmp_path: Path
) -> None:
    """The YAML of an ONNX file stands for a pixel model, which is given faces of its own size; small grey ones are no loss."""
    path = describe(tmp_path)
    told: list[str] = []
    result = evaluation.evaluate_faces(made_up_data, [str(path), "pixel"], warn=told.append).result
    assert (list(result), told) == (["mine", "pixel"], [])
    assert result["mine"]["version"] == ExternalPixelModel(path).version
    assert result["mine"]["ferplus"]["n_seen"] == 32
    assert list(result["pixel"]["ferplus"]["complementarity"]) == ["mine"]


def test_two_models_of_one_name_are_refused(made_up_data: FaceData, tmp_path: Path) -> None:
    """Their figures would have one key; the same path twice is one model."""
    path = describe(tmp_path)
    other = path.with_name("other.yaml")
    other.write_text(path.read_text())
    with pytest.raises(ModelError, match=r"other\.yaml: another of these models is called mine as well"):
        evaluation.evaluate_faces(made_up_data, [str(path), str(other)])
    assert Measured([str(path), str(path)], WEIGHTS).names == ("mine",)


@pytest.mark.parametrize(
    ("side", "colour", "batches", "line"),
    [
        # 4 * 3 * 224^2 bytes per face: 26 make 15.7 MB.
        (
            224,
            "rgb",
            [26, 6],
            "reads 224 px in colour: here it is given 48 px grey pictures enlarged, and may be worse",
        ),
        (32, "rgb", [32], "reads 32 px in colour: here it is given 48 px grey pictures, and may be worse"),
    ],
)
def test_models_for_larger_or_coloured_faces_are_named_and_given_fewer_at_once(
    made_up_data: FaceData,
    made_up_meshes: Meshes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    side: int,
    colour: str,
    batches: list[int],
    line: str,
) -> None:
    """One line says that they are given 48 px grey pictures; a batch is 16 MB at most."""
    content = channel_means(side, np.ones((3, 7), dtype=np.float32))
    described = {
        "input__size": [side, side],
        "input__colour": colour,
        "input__layout": "nchw",
        "output__name": "scores",
    }
    path = describe(tmp_path, content, classes=list(EMOTIONS), **described)
    measured = Measured(["pixel", str(path)], WEIGHTS)
    (doubt,) = measured.doubts
    assert doubt == f"{path} {line} than it is on video"
    sizes: list[int] = []
    predict = ExternalPixelModel.predict
    monkeypatch.setattr(ExternalPixelModel, "predict", lambda self, x: (sizes.append(len(x)), predict(self, x))[1])
    measured.answers(Inputs(made_up_data.images, np.ones(32, dtype=np.bool_), made_up_meshes))
    assert sizes == batches


def test_time_is_that_of_one_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that take 8 ms for a batch of 8 take 1 ms per face; those of two arms add up."""
    clock = iter(np.arange(0, 10_000) * 0.008)
    monkeypatch.setattr(answers.time, "perf_counter", lambda: next(clock))
    assert answers._timed([lambda: None, lambda: None], 8) == {"median": 1.0, "p95": 1.0}
    assert answers._timed([lambda: None, None], 8) is None


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    """Unknown models and conditions and an unusable file are named, what costs nothing to check first."""
    none = tmp_path / "none.npz"
    with pytest.raises(
        ModelError,
        match="no model 'pixie'; choose from fused, landmark, landmark-fer2013, landmark-paper, pixel, pixel-fer2013,",
    ):
        evaluation.evaluate_expression(none, ["pixie"])
    with pytest.raises(DataError, match="no condition 'foggy'"):
        evaluation.evaluate_expression(none, conditions=["foggy"])
    with pytest.raises(DataError, match=r"none\.npz: no such file"):
        evaluation.evaluate_expression(none)


@pytest.mark.parametrize("module", ["evaluation.measure", "evaluation.text", "evaluation.picture", "datasets.sources"])
def test_evaluation_needs_no_torch(module: str) -> None:
    """A machine without the `train` extra can measure."""
    program = f"import sys, models.{module}; print('torch' in sys.modules, 'onnx' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": "."},
    )
    assert done.stdout.split() == ["False", "False"]


def test_the_shipped_models_clear_the_bars(dev_data: Path) -> None:
    """On 600 pictures of FER2013 PublicTest, FER+ majority: pixel 81 %, landmark 74 %, fused 82 %, paper 57 %."""
    data = load_faces(dev_data / "fer2013_valid.npz").rows(slice(0, 600))
    result: dict[str, Any] = evaluation.evaluate_faces(data, ["pixel", "landmark", "fused", "landmark-paper"]).result
    reached = {name: measured["ferplus"]["accuracy"] for name, measured in result.items()}
    bars = {"pixel": 0.81, "landmark": 0.74, "fused": 0.82, "landmark-paper": 0.57}
    assert {name: share for name, share in reached.items() if share < bars[name]} == {}
    assert result["landmark"]["ferplus"]["coverage"] > 0.93
