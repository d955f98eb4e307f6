"""Which models samples and heads belong to: an embedding means nothing to the head of another network."""

from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class Basis:
    """The two networks whose embeddings are kept, by the hashes of their files, and how long these are."""

    pixel_sha256: str
    landmark_sha256: str
    pixel_dim: int = 256
    landmark_dim: int = 256

    @property
    def key(self) -> str:
        """16 hexadecimal digits that differ when either network differs."""
        return sha256(f"{self.pixel_sha256}:{self.landmark_sha256}".encode()).hexdigest()[:16]
