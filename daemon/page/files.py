"""The page's files and how browsers may keep them: nothing is built, and nothing comes from anywhere else."""

from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from aiohttp import web

PLOTLY_PATH: Final = f"/page/plotly-{version('plotly')}.min.js"
"""With the version in its name, so that browsers may keep it for good."""
POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
FOLDER: Final = Path(__file__).parent / "static"
TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page."""

    body: bytes
    content_type: str
    etag: str


class Assets:
    """Serves the page's files from memory, and plotly.js from the installed package."""

    headers = HEADERS

    def __init__(self) -> None:
        self._assets = {("/" if f.name == "index.html" else f"/page/{f.name}"): _read(f) for f in FOLDER.iterdir()}
        self.paths = (*self._assets, PLOTLY_PATH)
        """All that can be had."""

    async def serve(self, request: web.Request) -> web.Response:
        """One of our own files; browsers ask each time whether theirs is still the newest."""
        asset = self._assets[request.path]
        headers = HEADERS | {"Cache-Control": "no-cache", "ETag": f'"{asset.etag}"'}
        if any(tag.value == asset.etag for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=asset.body, content_type=asset.content_type, charset="utf-8", headers=headers)

    async def plotly(self, _: web.Request) -> web.FileResponse:
        """plotly.js, which browsers may keep."""
        headers = HEADERS | {"Cache-Control": "public, max-age=31536000, immutable", "Content-Type": "text/javascript"}
        return web.FileResponse(_plotly(), headers=headers)


def _read(file: Path) -> Asset:
    body = file.read_bytes().replace(b"$plotly", PLOTLY_PATH.encode())
    return Asset(body, TYPES[file.suffix], sha256(body).hexdigest()[:16])


def _plotly() -> Path:
    """Where plotly.js lies; plotly itself, which takes long to import, is not."""
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        msg = "plotly is not installed; install attuned again"
        raise RuntimeError(msg)
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"
