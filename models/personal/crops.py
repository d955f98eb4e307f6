"""Crops of faces are kept only where `personal.keep_crops` says so, and then encrypted (AES-256-GCM).

The key lies in the state folder, outside the folders of the participants: a copy of one of these shows no face.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from models.errors import ModelError
from models.personal.private import private_folder, write_private
from pipeline.types import U8

CROPS_KEY: Final = "crops.key"
"""The file of the key, beside the participants' folders."""

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_SHAPE: Final = struct.Struct("<3H")


@dataclass(frozen=True, slots=True)
class Cipher:
    """Turns crops of one participant into bytes that need the key, and back."""

    key: bytes
    participant: str

    @classmethod
    def of(cls, key_file: Path, participant: str) -> Self:
        """The cipher of a participant, with the key of this machine, made on first use.

        Raises:
            ModelError: The package `cryptography` is missing, or the key is damaged.
            OSError: The key can be neither read nor written.
        """
        try:
            import cryptography.hazmat.primitives.ciphers.aead  # noqa: F401, PLC0415 (whether it is there)
        except ImportError:
            msg = "personal.keep_crops needs the package cryptography: pip install cryptography, or switch it off"
            raise ModelError(msg) from None
        if not key_file.exists():
            private_folder(key_file.parent)
            write_private(key_file, os.urandom(KEY_BYTES))
        key = key_file.read_bytes()
        if len(key) != KEY_BYTES:
            msg = f"{key_file}: expected {KEY_BYTES} bytes, found {len(key)}; remove it, and kept crops are lost"
            raise ModelError(msg)
        return cls(key, participant)

    def encrypt(self, crop: U8, second: int) -> bytes:
        """A crop of shape (h, w) or (h, w, 3), bound to the participant and the second."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 (only who keeps crops needs it)

        nonce = os.urandom(_NONCE_BYTES)
        depth = crop.shape[2] if crop.ndim == 3 else 0  # noqa: PLR2004 (axes of a colour picture)
        plain = _SHAPE.pack(crop.shape[0], crop.shape[1], depth) + crop.tobytes()
        return nonce + AESGCM(self.key).encrypt(nonce, plain, self._bound_to(second))

    def decrypt(self, kept: bytes, second: int) -> U8:
        """The crop that `encrypt` was given.

        Raises:
            ModelError: It was changed, or is of another key, participant or second.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        try:
            plain = AESGCM(self.key).decrypt(kept[:_NONCE_BYTES], kept[_NONCE_BYTES:], self._bound_to(second))
        except (InvalidTag, ValueError):
            msg = "a kept crop was changed, or is of another key; forget the participant to remove it"
            raise ModelError(msg) from None
        height, width, depth = _SHAPE.unpack_from(plain)
        shape = (height, width, depth) if depth else (height, width)
        return np.frombuffer(plain, dtype=np.uint8, offset=_SHAPE.size).reshape(shape)

    def _bound_to(self, second: int) -> bytes:
        return f"{self.participant}:{second}".encode()
