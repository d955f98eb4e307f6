"""Geometry of meshes: worked by hand on made-up meshes, and what must not matter, by Hypothesis."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from pipeline import landmarks as lm

angles = st.floats(-1.2, 1.2)


def turn(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The rotation that rolls, then pitches, then yaws, in axes x right, y down, z away."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    # Yaw to larger x: the way the face looks, (0, 0, -1), goes to (sin, 0, -cos).
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    # Pitch up: (0, 0, -1) goes to (0, -sin, -cos).
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    # Roll clockwise: the top of the head, (0, -1, 0), goes to (sin, -cos, 0).
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def face(seed: int = 0) -> np.ndarray:
    """A mesh (468, 3) whose rigid points are the reference, and whose others lie anywhere."""
    mesh = np.random.default_rng(seed).normal(size=(468, 3))
    mesh[list(lm.RIGID_POINTS)] = lm.RIGID_REFERENCE
    return mesh


def test_the_table_names_68_different_vertices() -> None:
    """Each iBUG point has a vertex of its own."""
    assert len(set(lm.IBUG_68)) == 68
    assert (min(lm.IBUG_68) >= 0, max(lm.IBUG_68) < 468) == (True, True)


@pytest.mark.parametrize(
    ("ibug", "vertex"), [(8, 152), (27, 168), (30, 4), (36, 33), (45, 263), (48, 61), (54, 291), (57, 17), (62, 13)]
)
def test_known_points_of_the_table(ibug: int, vertex: int) -> None:
    """Chin, bridge and tip of the nose, outer eye corners, mouth corners and lips are where MediaPipe has them."""
    assert lm.IBUG_68[ibug] == vertex


def test_68_points_are_rows_of_the_mesh() -> None:
    """Point k is x and y of vertex IBUG_68[k]."""
    mesh = np.arange(2 * 468 * 3, dtype=np.float32).reshape(2, 468, 3)
    points = lm.points_68(mesh)
    assert points.shape == (2, 68, 2)
    # Vertex 152 of the second mesh: 3 * (468 + 152) = 1860, and the number after it.
    assert points[1, 8].tolist() == [1860, 1861]


def test_paper_features_worked_by_hand() -> None:
    """A cross of four points, 17 of the 68 on each: all at distance 1, at angles 0, pi/2, pi and -pi/2."""
    corners = np.array([[5, 2], [3, 4], [1, 2], [3, 0]])
    mesh = np.zeros((1, 468, 3), dtype=np.float32)
    mesh[0, list(lm.IBUG_68), :2] = np.repeat(corners, 17, axis=0)
    features = lm.paper_features(mesh).reshape(68, 4)
    # The mean is (3, 2); every distance is 2, so their root mean square is 2 and all are divided by it.
    assert_allclose(features[0], [1, 0, 1, 0], atol=1e-6)
    assert_allclose(features[17], [0, 1, 1, np.pi / 2], atol=1e-6)
    assert_allclose(features[34], [-1, 0, 1, np.pi], atol=1e-6)
    assert_allclose(features[51], [0, -1, 1, -np.pi / 2], atol=1e-6)


@given(st.floats(0.1, 50), st.floats(-500, 500), st.floats(-500, 500))
def test_paper_features_ignore_position_and_scale(scale: float, x: float, y: float) -> None:
    """Moving and enlarging a face changes none of the 272 numbers but an angle's sign at its cut."""
    mesh = face()[None]
    before, after = (
        lm.paper_features(m).reshape(68, 4).astype(np.float64) for m in (mesh, mesh * scale + np.array([x, y, 0]))
    )
    assert_allclose(after[:, :3], before[:, :3], atol=1e-4)
    assert_allclose(np.cos(after[:, 3] - before[:, 3]), 1, atol=1e-4)


def test_the_reference_is_symmetric_and_of_size_one() -> None:
    """Its right half mirrors its left, its mean is 0, its root mean square distance 1."""
    reference = lm.RIGID_REFERENCE
    assert_allclose(reference[8:18] * (-1, 1, 1), reference[18:], atol=0)
    assert_allclose(reference.mean(axis=0), 0, atol=1e-3)
    assert_allclose((reference**2).sum(axis=1).mean(), 1, atol=1e-3)


def test_a_level_head_has_no_pose() -> None:
    """The reference itself looks straight into the camera."""
    assert_allclose(lm.head_pose(face()[None]), 0, atol=1e-9)


@pytest.mark.parametrize(
    ("axis", "sign_of"),
    [(0, "the nose moves to larger x"), (1, "the nose moves up"), (2, "the forehead moves to larger x")],
)
def test_signs_of_the_pose(axis: int, sign_of: str) -> None:
    """A positive angle means to the subject's own left, up, and leaning to the subject's own left shoulder."""
    pose = np.zeros(3)
    pose[axis] = 0.3
    turned = face() @ turn(*pose).T
    nose, forehead = turned[4] - face()[4], turned[10] - face()[10]
    moved = {
        "the nose moves to larger x": nose[0],
        "the nose moves up": -nose[1],
        "the forehead moves to larger x": forehead[0],
    }
    assert moved[sign_of] > 0
    assert_allclose(lm.head_pose(turned[None])[0], pose, atol=1e-9)


@given(angles, angles, angles, st.floats(0.1, 50), st.tuples(*[st.floats(-500, 500)] * 3))
def test_the_pose_is_found_again(
    yaw: float, pitch: float, roll: float, scale: float, offset: tuple[float, float, float]
) -> None:
    """Whatever the size and place of a head, its three angles are those it was turned by."""
    mesh = face() @ turn(yaw, pitch, roll).T * scale + np.array(offset)
    assert_allclose(lm.head_pose(mesh[None])[0], [yaw, pitch, roll], atol=1e-6)


@given(angles, angles, angles, st.floats(0.1, 50), st.tuples(*[st.floats(-500, 500)] * 3))
def test_mesh_features_ignore_pose_scale_and_position(
    yaw: float, pitch: float, roll: float, scale: float, offset: tuple[float, float, float]
) -> None:
    """The upright mesh is the same however the head is held, and wherever."""
    mesh = face()
    moved = mesh @ turn(yaw, pitch, roll).T * scale + np.array(offset)
    features = lm.mesh_features(moved[None])
    assert (features.shape, features.dtype) == ((1, 1404), np.float32)
    assert_allclose(features, lm.mesh_features(mesh[None]), atol=1e-4)
    # The rigid points are those of the reference, but for the digits its size is rounded to.
    assert_allclose(lm.upright(moved[None])[0, list(lm.RIGID_POINTS)], lm.RIGID_REFERENCE, atol=2e-3)


def test_a_mirrored_face_is_not_turned_inside_out() -> None:
    """The alignment is a rotation: a mesh with its depth reversed keeps its reversed depth."""
    flat = face() * (1, 1, -1)
    aligned = lm.upright(flat[None])[0]
    centred = flat - flat[list(lm.RIGID_POINTS)].mean(axis=0)
    assert np.sign(np.linalg.det(np.linalg.lstsq(centred, aligned, rcond=None)[0])) == 1


def test_a_mesh_of_one_point_gives_finite_features() -> None:
    """A degenerate mesh divides nothing by zero."""
    mesh = np.full((1, 468, 3), 7.0, dtype=np.float32)
    assert np.isfinite(lm.mesh_features(mesh)).all()
    assert np.isfinite(lm.paper_features(mesh)).all()


def test_the_box_holds_all_points() -> None:
    """x0, y0, x1, y1 are the extremes of each mesh."""
    mesh = np.full((2, 468, 3), 5.0, dtype=np.float32)
    mesh[0, 3] = (1, 9, -4)
    mesh[1, 8] = (6, 2, 30)
    assert lm.mesh_box(mesh).tolist() == [[1, 5, 5, 9], [5, 2, 6, 5]]


@pytest.mark.parametrize("shape", [(468, 3), (1, 478, 3), (1, 468, 2)])
@pytest.mark.parametrize(
    "function", [lm.points_68, lm.paper_features, lm.mesh_features, lm.upright, lm.head_pose, lm.mesh_box]
)
def test_another_shape_is_refused(function: object, shape: tuple[int, ...]) -> None:
    """The message has the expected and the actual shape."""
    with pytest.raises(ValueError, match=r"expected shape \(n, 468, 3\), found \(\d+"):
        function(np.zeros(shape, dtype=np.float32))  # type: ignore[operator]


def test_no_faces_give_no_features() -> None:
    """An empty array of meshes is allowed."""
    none = np.zeros((0, 468, 3), dtype=np.float32)
    assert lm.mesh_features(none).shape == (0, 1404)
    assert lm.paper_features(none).shape == (0, 272)
    assert lm.head_pose(none).shape == (0, 3)
    assert lm.mesh_box(none).shape == (0, 4)
