"""Small sound recordings, to be damaged."""

from pathlib import Path

import pytest
from videos import write_video


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """One of each container."""
    folder: Path = tmp_path_factory.mktemp("clips")
    kinds = {"a.mp4": "libx264", "b.mkv": "libx264", "c.avi": "mpeg4", "d.webm": "libvpx", "e.ts": "libx264"}
    return [
        write_video(folder / name, range(10), size=(64, 48), codec=codec).read_bytes() for name, codec in kinds.items()
    ]
