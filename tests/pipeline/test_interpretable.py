"""The 51 features: worked by hand on made-up meshes, what must not matter, and the resting face."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

from pipeline import interpretable as it
from pipeline.landmarks import RIGID_POINTS, RIGID_REFERENCE, head_pose

COLUMN = {name: at for at, name in enumerate(it.NAMES)}
ACTION_UNITS = {unit.code: unit for unit in it.ACTION_UNITS}


def face(seed: int = 0) -> np.ndarray:
    """A symmetric mesh (468, 3) whose rigid points are the reference, and whose others lie anywhere."""
    mesh = np.random.default_rng(seed).normal(size=(468, 3))
    mesh[list(RIGID_POINTS)] = RIGID_REFERENCE
    return mesh


def turn(pitch: float) -> np.ndarray:
    """The rotation that looks up by `pitch`, in axes x right, y down, z away."""
    c, s = np.cos(pitch), np.sin(pitch)
    return np.array([[1, 0, 0], [0, c, s], [0, -s, c]])


def features(mesh: np.ndarray) -> np.ndarray:
    """(51,) of one mesh."""
    return it.interpretable_features(mesh[None].astype(np.float32))[0]


def test_there_are_51_and_each_is_documented() -> None:
    """Gaze 5, eyes 5, pose 6, 17 intensities and 18 presences, in the order of their descriptions."""
    assert it.N_INTERPRETABLE == len(set(it.NAMES)) == 51
    assert tuple(feature.name for feature in it.FEATURES) == it.NAMES
    assert all(feature.unit and feature.formula for feature in it.FEATURES)
    vector = it.NAMES[it.ACTION_UNIT_COLUMNS]
    assert (len(vector), vector[0], vector[16], vector[17], vector[34]) == (35, "AU01_r", "AU45_r", "AU01_c", "AU28_c")


def test_lips_apart_worked_by_hand() -> None:
    """Three points of either lip, 0.3 face sizes apart: intensity 5 (0.3 - rest) / (full - rest)."""
    mesh = face()
    mesh[[82, 13, 312], 1] = 1.0
    # Lower lips of 1.2, 1.3 and 1.4 lie 0.3 below on average.
    mesh[[87, 14, 317], 1] = [1.2, 1.3, 1.4]
    unit = ACTION_UNITS["AU25"]
    expected = 5 * (0.3 - unit.rest) / (unit.full - unit.rest)
    found = features(mesh)
    assert_allclose(found[COLUMN["AU25_r"]], expected, rtol=1e-4)
    assert found[COLUMN["AU25_c"]] == float(expected > unit.present_from) == 1.0


def test_a_smile_is_corners_up_and_apart() -> None:
    """Corners 0.2 above the middle of the lips, 0.9 apart: half of 0.2 + 0.2, and half of 0.9."""
    mesh = face()
    mesh[[82, 13, 312, 87, 14, 317], 1] = 1.2
    mesh[[61, 78, 291, 308], 1] = 1.0
    mesh[[61, 78], 0], mesh[[291, 308], 0] = -0.45, 0.45
    sums = it.action_unit_sums(mesh[None])[0]
    codes = [unit.code for unit in it.ACTION_UNITS]
    assert_allclose(sums[codes.index("AU12")], 0.5 * (0.2 + 0.2) + 0.5 * 0.9, atol=1e-3)
    # Below the middle by minus as much; apart, less what they are up.
    assert_allclose(sums[codes.index("AU15")], -0.2, atol=1e-3)
    assert_allclose(sums[codes.index("AU20")], 0.5 * 0.9 - 0.2, atol=1e-3)


@pytest.mark.parametrize(
    ("code", "vertices", "axis", "by"),
    [
        ("AU01", (107, 55, 336, 285), 1, -0.1),
        ("AU02", (70, 63, 300, 293), 1, -0.1),
        ("AU04", (107, 66, 105, 63, 336, 296, 334, 293), 1, 0.1),
        ("AU05", (160, 159, 158, 387, 386, 385), 1, -0.1),
        ("AU06", (50, 101, 118, 280, 330, 347), 1, -0.1),
        ("AU07", (144, 145, 153, 373, 374, 380), 1, -0.1),
        ("AU09", (129, 64, 358, 294), 1, -0.1),
        ("AU10", (39, 37, 0, 267, 269), 1, -0.1),
        ("AU14", (61, 78, 291, 308), 2, 0.1),
        ("AU17", (199, 200), 1, -0.1),
        ("AU23", (84, 17, 314), 1, -0.1),
        ("AU26", (152, 175), 1, 0.1),
        ("AU28", (39, 37, 0, 267, 269), 1, 0.1),
        ("AU45", (160, 159, 158, 387, 386, 385), 1, 0.1),
    ],
)
def test_each_unit_rises_with_its_movement(code: str, vertices: tuple[int, ...], axis: int, by: float) -> None:
    """Moving the part of the face that the unit is named after by 0.1 raises its sum by as much."""
    before, after = face(), face()
    after[list(vertices), axis] += by
    at = [unit.code for unit in it.ACTION_UNITS].index(code)
    sums = it.action_unit_sums(np.stack([before, after]))[:, at]
    assert_allclose(sums[1] - sums[0], 0.1, atol=1e-6)


def test_place_size_and_eyes_worked_by_hand() -> None:
    """A face of 50 px whose middle lies at (300, 200): 6 and 4 face sizes away, a distance of 100 / 50."""
    mesh = face()
    mesh[list(it._EYES)] = [0.1, -0.2, 0.3]
    # Corners of the eyes are rigid points: put back, so that the mean of 32 is 28 made-up points and these 4.
    rigid = [33, 133, 263, 362]
    places = dict(zip(RIGID_POINTS, RIGID_REFERENCE, strict=True))
    mesh[rigid] = [places[v] for v in rigid]
    mean = (28 * np.array([0.1, -0.2, 0.3]) + mesh[rigid].sum(axis=0)) / 32
    found = features(mesh * 50 + np.array([300, 200, 0]))
    assert_allclose(found[[COLUMN[f"pose_T{axis}"] for axis in "xyz"]], [6, 4, 2], rtol=2e-3)
    assert_allclose(found[[COLUMN[f"eye_{axis}"] for axis in "XYZ"]], mean, atol=1e-3)
    # The head is level, so the picture shows the same.
    assert_allclose(found[[COLUMN["eye_x"], COLUMN["eye_y"]]], mean[:2], atol=1e-3)


def test_gaze_follows_head_and_lids() -> None:
    """Lids as at rest, a level head: straight ahead; lids lower by 0.1 rad's worth: 0.1 rad down; head up: up."""
    mesh = face()
    corners = mesh[[133, 362, 33, 263], 1].mean()
    lids = [*it._UPPER_LIDS, *it._LOWER_LIDS]
    mesh[lids, 1] = corners + it.LIDS_AT_REST
    columns = [COLUMN[name] for name in ("gaze_x", "gaze_y", "gaze_z", "gaze_angle_x", "gaze_angle_y")]
    assert_allclose(features(mesh)[columns], [0, 0, -1, 0, 0], atol=1e-5)
    lowered = mesh.copy()
    lowered[lids, 1] += 0.1 * it.LIDS_PER_RAD
    assert_allclose(features(lowered)[columns], [0, np.sin(0.1), -np.cos(0.1), 0, 0.1], atol=1e-5)
    up = features(mesh @ turn(0.3).T)
    assert_allclose(up[columns], [0, -np.sin(0.3), -np.cos(0.3), 0, -0.3], atol=1e-5)
    assert_allclose(up[[COLUMN["pose_Rx"], COLUMN["pose_Ry"], COLUMN["pose_Rz"]]], [-0.3, 0, 0], atol=1e-5)


@given(st.floats(-1, 1), st.floats(0.5, 80), st.floats(-400, 400), st.floats(-400, 400))
def test_what_the_head_does_is_not_what_the_face_does(pitch: float, size: float, x: float, y: float) -> None:
    """Turned, enlarged and moved, a face has the same action units and the same eyes in the head."""
    before = features(face(1))
    after = features(face(1) @ turn(pitch).T * size + np.array([x, y, 0]))
    at_eyes = [COLUMN[f"eye_{axis}"] for axis in "XYZ"]
    assert_allclose(after[at_eyes], before[at_eyes], atol=1e-3)
    assert_allclose(after[16:33], before[16:33], atol=0.1)


@given(arrays(np.float32, (4, 468, 3), elements=st.floats(-50, 50, width=32)))
def test_rows_do_not_know_of_each_other(meshes: np.ndarray) -> None:
    """Whatever the meshes: finite numbers, presences 0 or 1, the same for one as for many."""
    together = it.interpretable_features(meshes)
    assert together.shape == (4, 51)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    assert set(np.unique(together[:, 33:])) <= {0.0, 1.0}
    assert_allclose(it.interpretable_features(meshes[2:3])[0], together[2], rtol=1e-3, atol=1e-3)


def test_no_faces_and_wrong_meshes() -> None:
    """None in, none out; another shape is refused."""
    assert it.interpretable_features(np.zeros((0, 468, 3), np.float32)).shape == (0, 51)
    with pytest.raises(ValueError, match="expected shape"):
        it.interpretable_features(np.zeros((1, 467, 3), np.float32))


def test_pose_is_that_of_the_head() -> None:
    """OpenFace turns the other way only in pitch."""
    mesh = (face() @ turn(0.2).T)[None]
    assert_allclose(features(mesh[0])[13:16], [-head_pose(mesh)[0, 1], *head_pose(mesh)[0, [0, 2]]], atol=1e-5)


def rows(*values: float) -> np.ndarray:
    """(n, 51), each row one value throughout."""
    return np.repeat(np.array(values, dtype=np.float32)[:, None], 51, axis=1)


def test_resting_face_worked_by_hand() -> None:
    """Of 0, 2, 4, 6, 100 the median is 4, the deviations 4, 2, 0, 2, 96 have the median 2: spread 1.4826 x 2."""
    baseline = it.Baseline.of(rows(0, 2, 4, 6, 100))
    assert (baseline.n, baseline.source) == (5, "all")
    assert_allclose(baseline.rest, 4)
    assert_allclose(baseline.spread, 2.9652)
    assert_allclose(baseline.z_scores(rows(4, 6.9652)), rows(0, 1), atol=1e-6)


def test_neutral_seconds_are_the_rest_once_there_are_enough() -> None:
    """Three neutral rows of 1 beside five of 9: rest 1 where three are enough, 9 where not; the spread is that of all."""
    given_rows, neutral = rows(1, 1, 1, 9, 9, 9, 9, 9), np.arange(8) < 3
    assert_allclose(it.Baseline.of(given_rows, neutral, n_neutral=3).rest, 1)
    assert it.Baseline.of(given_rows, neutral, n_neutral=3).source == "neutral"
    assert_allclose(it.Baseline.of(given_rows, neutral, n_neutral=4).rest, 9)


def test_a_still_face_has_a_spread() -> None:
    """Rows that are all alike are measured by the least spread, and a row that is not finite does not count."""
    baseline = it.Baseline.of(np.concatenate([rows(3, 3), np.full((1, 51), np.nan)]))
    assert baseline.n == 2
    assert_allclose(baseline.rest, 3)
    assert (baseline.spread > 0).all()
    assert baseline.spread[COLUMN["AU12_r"]] == 0.5


def test_no_row_and_wrong_rows() -> None:
    """Without a row nothing is changed; another shape is refused."""
    assert_allclose(it.Baseline.of(rows()).z_scores(rows(7)), 7)
    with pytest.raises(ValueError, match=r"expected shape \(n, 51\), found \(2, 50\)"):
        it.Baseline.of(np.zeros((2, 50)))


def test_the_running_baseline_forgets_the_oldest() -> None:
    """Of five seconds and room for three the last three are kept, and two are counted as dropped."""
    running = it.RunningBaseline(capacity=3)
    assert running.baseline().n == 0
    for value in (100, 100, 1, 2, 3):
        running.add(rows(value)[0], neutral=True)
    assert (running.n_dropped, running.baseline().n) == (2, 3)
    assert_allclose(running.baseline().rest, 2)


def test_a_running_baseline_keeps_something() -> None:
    """Room for nothing is refused."""
    with pytest.raises(ValueError, match="capacity: expected at least 1, found 0"):
        it.RunningBaseline(capacity=0)
