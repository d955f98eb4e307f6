"""`make audit`: known weaknesses of what is installed, by pip-audit where it and its database can be reached.

Else what can be said without a network: every package that is pinned is installed in that version, and every file of
it has the hash that its own record says. Exit code 1 when something is wrong.
"""

import base64
import re
import subprocess
import sys
from hashlib import sha256
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
TIMEOUT_S = 300


def known_weaknesses() -> int | None:
    """pip-audit's exit code; None where it or its database is not there."""
    if subprocess.run([sys.executable, "-m", "pip_audit", "--version"], capture_output=True, check=False).returncode:
        return None
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if re.search("ConnectionError|ServiceError|Max retries", done.stderr):
        return None
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


def pinned() -> dict[str, str]:
    """Version by name, as `constraints.txt` has them."""
    lines = (line.split("#")[0].split(";")[0].strip() for line in CONSTRAINTS.read_text().splitlines())
    return dict(line.split("==", 1) for line in lines if "==" in line)


def changed_files(package: Distribution) -> list[str]:
    """Files of a package that are not what its record says, or are gone."""
    changed = []
    for file in package.files or []:
        if file.hash is None or file.hash.mode != "sha256" or file.suffix == ".pyc":
            continue
        path = Path(str(file.locate()))
        if not path.is_file():
            changed.append(f"{file}: is gone")
            continue
        digest = base64.urlsafe_b64encode(sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
        if digest != file.hash.value:
            changed.append(f"{file}: was changed")
    return changed


def main() -> int:
    """Says what is wrong; 0 when nothing is."""
    code = known_weaknesses()
    if code is not None:
        return code
    print("pip-audit or its database is not there; checking versions and files instead", file=sys.stderr)
    wrong, n = [], 0
    for name, version in pinned().items():
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # of an extra, or of another system
        n += 1
        # A build of the same version, such as torch without CUDA, is the same.
        if package.version.partition("+")[0] != version:
            wrong.append(f"{name}: {package.version} is installed, {version} is pinned")
        wrong += [f"{name}: {text}" for text in changed_files(package)]
    print("\n".join(wrong) or f"{n} packages are what is pinned, and no file of them was changed")
    return 1 if wrong or not n else 0


if __name__ == "__main__":
    sys.exit(main())
