"""Between valence and arousal and the seven classes: the way back from `derived_valence_arousal`."""

from typing import Final

import numpy as np
from scipy.optimize import minimize

from pipeline.emotions import F64, N_EMOTIONS, VALENCE_AROUSAL, softmax

TOLERANCE: Final = 0.02
"""So far, in each axis, the expectation may lie beside what was asked for."""
_STEEPEST: Final = 200.0


def distribution_of_affect(valence: float, arousal: float) -> F64:
    """(7,) probabilities whose expected valence and arousal are these: of all such, the one that assumes least.

    That of maximum entropy, p_k proportional to exp(v x valence_k + a x arousal_k) (Jaynes 1957, "Information theory and
    statistical mechanics"), with the coordinates of `VALENCE_AROUSAL`. At a corner, such as that of happiness, it is
    one class; in the middle it is spread over many.

    Raises:
        ValueError: No mixture of the seven lies there, such as (1, -1), or it is not in [-1, 1].
    """
    wanted = np.array([valence, arousal], dtype=np.float64)
    if not (np.abs(wanted) <= 1).all():
        msg = f"valence, arousal: expected two numbers from -1 to 1, found {valence:g}, {arousal:g}"
        raise ValueError(msg)

    def dual(slope: F64) -> tuple[float, F64]:
        p = softmax(VALENCE_AROUSAL @ slope)
        shifted = (VALENCE_AROUSAL - wanted) @ slope
        top = shifted.max()
        return float(top + np.log(np.exp(shifted - top).sum())), np.asarray(p @ VALENCE_AROUSAL - wanted)

    # Corners are reached in the limit only.
    found = minimize(dual, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-_STEEPEST, _STEEPEST)] * 2)
    p = softmax(VALENCE_AROUSAL @ found.x)
    if (np.abs(p @ VALENCE_AROUSAL - wanted) > TOLERANCE).any():
        msg = (
            f"valence {valence:g} with arousal {arousal:g} is no mixture of the seven expressions; give a label instead"
        )
        raise ValueError(msg)
    return p


def certainty(probabilities: F64) -> float:
    """How much (7,) probabilities say, in [0, 1]: 1 less their entropy in units of that of knowing nothing."""
    known = probabilities[probabilities > 0]
    return max(0.0, 1.0 + float((known * np.log(known)).sum()) / float(np.log(N_EMOTIONS)))
