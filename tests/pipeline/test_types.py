"""Values."""

import numpy as np
import pytest
from builders import p

from pipeline.protocols import FaceTracker
from pipeline.types import Crop, FaceBoxes, Faces, frozen_array


def test_faces_count_themselves() -> None:
    """Two faces are two, whatever they look like."""
    faces = Faces(np.zeros((2, 4), np.float32), np.zeros(2, np.float32), np.zeros((2, 468, 3), np.float32))
    assert len(faces) == 2
    assert len(FaceBoxes(np.zeros((3, 4), np.float32), np.zeros(3, np.float32))) == 3


def test_a_crop_knows_its_shape() -> None:
    """Grey pictures have no axis of channels; what nobody asks for otherwise is 48 px and grey."""
    assert (Crop().shape, Crop(224, colour=True).shape) == ((48, 48), (224, 224, 3))


def test_a_reading_that_was_given_out_does_not_change() -> None:
    """Writing into a frozen distribution is an error."""
    with pytest.raises(ValueError, match="read-only"):
        frozen_array(p())[0] = 1.0


def test_a_tracker_that_cannot_close_is_none() -> None:
    """Protocols are checked by type checkers; what they ask for stands in them."""
    assert {"find", "close"} <= set(dir(FaceTracker))
