"""The versions of a participant's head on disk: `personal-1`, `personal-2`, …, and which of them serves.

One file says all, `manifest.json`: the versions, their hashes, what they were judged by, and which is current. It is
replaced at once, after the head's file is safe, so that whenever the process dies the old state or the new one is
there. A file that is not what its hash says serves nobody: the generic head does.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from models.errors import ModelError
from models.personal.private import erase_file, private_folder, sync_folder, write_private

GENERIC: Final = "generic"
MAX_VERSIONS: Final = 5
MAX_BYTES: Final = 64 << 20
"""Of all heads of a participant."""

SCHEMA: Final = 1
"""Of the manifest."""
MANIFEST: Final = "manifest.json"
LOCK: Final = "lock"
_N_REFUSED: Final = 64
"""Hashes of rolled back heads that are remembered, the latest."""

State = Literal["kept", "rolled_back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a head.

    basis: the models whose embeddings it reads (`Basis.key`). trained_until_s: time of the last sample it saw.
    classes: that it was judged on. verdict: the figures it was promoted for. reason: why it was rolled back.
    """

    name: str
    file: str
    sha256: str
    learner: str
    basis: str
    created_s: float
    trained_until_s: float
    classes: tuple[str, ...]
    verdict: Mapping[str, Any]
    state: State = "kept"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Manifest:
    """What stands in the file."""

    versions: tuple[Version, ...] = ()
    current: str | None = None
    next: int = 1
    refused: tuple[str, ...] = ()


class Store:
    """The heads of one participant: `Store(folder / "heads", basis=…)`; several may be open at a time.

    Args:
        folder: Made on first use.
        basis: Key of the models that read faces now; versions of others are kept and do not serve.
        max_versions, max_bytes: The oldest go beyond these, never the one that serves.

    Raises (every method):
        ModelError: The manifest or a head is not what it should be; one line says what to do.
        OSError: The disk refuses.
    """

    def __init__(
        self, folder: Path, *, basis: str, max_versions: int = MAX_VERSIONS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.folder = folder
        self._basis = basis
        self._max_versions = max_versions
        self._max_bytes = max_bytes

    def versions(self) -> tuple[Version, ...]:
        """All that are kept, the oldest first."""
        return self._read().versions

    def current(self) -> Version | None:
        """The version that serves; None: the generic head does. Its file is as it was judged.

        Raises:
            ModelError: The file is missing or changed, or its head is for other models: let the generic head serve.
        """
        version = self._current(self._read())
        if version is not None:
            self.check(version)
        return version

    def current_name(self) -> str | None:
        """The name of the version that is to serve, whatever has become of its file."""
        return self._read().current

    def path(self, version: Version) -> Path:
        """Where the head lies."""
        return self.folder / version.file

    def check(self, version: Version) -> Path:
        """The path of a head that is as it was judged, and for these models.

        Raises:
            ModelError: It is not.
        """
        path = self.path(version)
        told = f"{self.folder.parent.name}: {version.name} is not used, the generic head serves"
        if version.basis != self._basis:
            msg = f"{told}: it was trained for other expression models; it comes back with them"
            raise ModelError(msg)
        try:
            found = sha256(path.read_bytes()).hexdigest()
        except FileNotFoundError:
            found = "no file"
        if found != version.sha256:
            msg = f"{told}: expected SHA-256 {version.sha256[:12]}, found {found[:12]}; run `attuned models rollback`"
            raise ModelError(msg)
        return path

    def promote(
        self,
        candidate: Path,
        digest: str,
        *,
        learner: str,
        created_s: float,
        trained_until_s: float,
        classes: tuple[str, ...],
        verdict: Mapping[str, Any],
    ) -> Version:
        """Makes a candidate the version that serves; its file is taken away from where it is.

        Raises:
            ModelError: It is not the file that was judged, or was rolled back before.
        """
        data = candidate.read_bytes()
        if sha256(data).hexdigest() != digest:
            msg = "the candidate is not the file that was judged; it is dropped"
            raise ModelError(msg)
        with self._changing() as (manifest, save):
            if digest in manifest.refused:
                msg = "this very head was rolled back before; it is not tried again"
                raise ModelError(msg)
            name = f"personal-{manifest.next}"
            version = Version(
                name=name,
                file=f"{name}.head",
                sha256=digest,
                learner=learner,
                basis=self._basis,
                created_s=created_s,
                trained_until_s=trained_until_s,
                classes=classes,
                verdict=MappingProxyType(dict(verdict)),
            )
            write_private(self.path(version), data)
            kept = self._bounded((*manifest.versions, version))
            save(replace(manifest, versions=kept, current=name, next=manifest.next + 1))
        erase_file(candidate)
        return version

    def roll_back(self, name: str, reason: str) -> bool:
        """The version does harm: it never serves again, and the generic head serves. False where it does not serve.

        An older version is not put in its place: what changed since may have made that one worse still.
        """
        with self._changing() as (manifest, save):
            if manifest.current != name:
                return False
            save(self._without(manifest, name, reason, to=None))
        return True

    def step_back(self) -> tuple[Version | None, Version | None]:
        """What a person asks for: the version that serves never does again, the one before it does.

        Returns which served (None: the generic head, and nothing changed) and which does now (None: the generic one).
        A version before that was rolled back, is damaged or of other models, is stepped over.
        """
        with self._changing() as (manifest, save):
            current = next((v for v in manifest.versions if v.name == manifest.current), None)
            if current is None:
                return None, None
            earlier = manifest.versions[: manifest.versions.index(current)]
            usable = [v for v in earlier if v.state == "kept" and self._is_good(v)]
            save(self._without(manifest, current.name, "a person rolled it back", to=usable[-1] if usable else None))
            return current, usable[-1] if usable else None

    def _current(self, manifest: _Manifest) -> Version | None:
        return next((version for version in manifest.versions if version.name == manifest.current), None)

    def _is_good(self, version: Version) -> bool:
        try:
            self.check(version)
        except ModelError:
            return False
        return True

    def _without(self, manifest: _Manifest, name: str, reason: str, *, to: Version | None) -> _Manifest:
        versions = tuple(
            replace(v, state="rolled_back", reason=reason) if v.name == name else v for v in manifest.versions
        )
        refused = tuple(v.sha256 for v in versions if v.name == name)
        return replace(
            manifest,
            versions=versions,
            current=None if to is None else to.name,
            refused=(*manifest.refused, *refused)[-_N_REFUSED:],
        )

    def _bounded(self, versions: tuple[Version, ...]) -> tuple[Version, ...]:
        """The newest that are within the bounds; the last is the one that is about to serve."""
        kept: list[Version] = []
        n_bytes = 0
        for version in reversed(versions):
            path = self.path(version)
            n_bytes += path.stat().st_size if path.exists() else 0
            if kept and (len(kept) >= self._max_versions or n_bytes > self._max_bytes):
                break
            kept.append(version)
        return tuple(reversed(kept))

    @contextmanager
    def _changing(self) -> Iterator[tuple[_Manifest, Any]]:
        """One change at a time; files that no version names are erased after it, those of a crash among them."""
        private_folder(self.folder)
        with os.fdopen(os.open(self.folder / LOCK, os.O_WRONLY | os.O_CREAT, 0o600), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            manifest = self._read()

            def save(changed: _Manifest) -> None:
                write_private(self.folder / MANIFEST, _text(changed).encode())

            try:
                yield manifest, save
            finally:
                named = {v.file for v in self._read().versions} | {MANIFEST, LOCK}
                for path in self.folder.iterdir():
                    if path.name not in named:
                        erase_file(path)
                sync_folder(self.folder)

    def _read(self) -> _Manifest:
        path = self.folder / MANIFEST
        try:
            text = path.read_text(encoding="utf-8")
            if schema_of(text) > SCHEMA:
                msg = f"{path}: was written by a newer attuned, so the generic head serves; upgrade this one"
                raise ModelError(msg)
            return _parsed(text)
        except FileNotFoundError:
            return _Manifest()
        except (ValueError, KeyError, TypeError, AttributeError):
            msg = f"{path}: is damaged, so the generic head serves; remove it, and heads are trained anew"
            raise ModelError(msg) from None


def _text(manifest: _Manifest) -> str:
    versions = [
        asdict(replace(version, verdict={})) | {"verdict": dict(version.verdict)} for version in manifest.versions
    ]
    return json.dumps(
        {
            "schema": SCHEMA,
            "current": manifest.current,
            "next": manifest.next,
            "refused": list(manifest.refused),
            "versions": versions,
        },
        indent=1,
    )


def schema_of(text: str) -> int:
    """The schema of a manifest; raises ValueError, KeyError or TypeError where that is none."""
    return int(json.loads(text)["schema"])


def _parsed(text: str) -> _Manifest:
    """Raises ValueError, KeyError, TypeError or AttributeError where it is not what `_text` writes."""
    table = json.loads(text)
    if table["schema"] != SCHEMA:
        msg = "schema"
        raise ValueError(msg)
    versions = tuple(_version(fields) for fields in table["versions"])
    if table["current"] is not None and table["current"] not in {version.name for version in versions}:
        msg = "current"
        raise ValueError(msg)
    refused = tuple(str(digest) for digest in table["refused"])
    return _Manifest(versions, table["current"], int(table["next"]), refused)


def _version(fields: dict[str, Any]) -> Version:
    version = Version(**fields | {"classes": tuple(fields["classes"])})
    # A name of its own folder only: what is read or erased is never somewhere else.
    if version.file != f"{version.name}.head" or not re.fullmatch(r"personal-\d{1,9}", version.name):
        msg = "file"
        raise ValueError(msg)
    if version.state not in get_args(State):
        msg = "state"
        raise ValueError(msg)
    return version
