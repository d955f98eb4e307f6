"""How far many people's expressions lie apart: what one person's are measured against (PERSONAL, section 4, Fig. 5)."""

import zipfile
import zlib
from pathlib import Path
from typing import Final

import numpy as np

from models.manifest import WEIGHTS
from models.personal.comparison import separability

FILE: Final = "bank.npz"


def pooled_silhouette(
    models: tuple[str, str], classes: tuple[int, ...], *, n_components: int, folder: Path = WEIGHTS
) -> float | None:
    """The silhouette of these classes in the embeddings of the validation faces that come with attuned.

    models: SHA-256 of the pixel and of the landmark model. None where the faces were read with other models, or are not
    there: a person is then measured by the fixed bound alone.
    """
    try:
        with np.load(folder / FILE, allow_pickle=False) as bank:
            if sorted(map(str, bank["models"])) != sorted(models):
                return None
            emotion, mesh = bank["emotion"].astype(np.int64), bank["mesh"][:, 0]
            # The first take is the picture itself.
            arms = [bank[f"{arm}_embedding"][:, 0].astype(np.float32) for arm in ("pixel", "landmark")]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    rows = mesh & np.isin(emotion, classes)
    return separability(np.concatenate(arms, axis=1)[rows], emotion[rows], n_components=n_components)
