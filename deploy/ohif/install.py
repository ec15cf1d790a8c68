#!/usr/bin/env python3
"""Install the OHIF viewer for Orthanc Lumbar: pinned version, verified checksum, root /ohif/.

    python3 deploy/ohif/install.py /opt/lumbar/ohif

Requires Python 3.11 and npm. Both Orthanc's plugin (LUMBAR_OHIF) and nginx (deploy/nginx) can
serve the folder. Without internet access, fetch the package on another machine with `npm pack`
and pass the file with --package. Running the script again does nothing unless the version, this
script or the lumbar files next to it have changed.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

PACKAGE = "@ohif/app@3.13.2"
INTEGRITY = (
    "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq"
    "+jd5xXZB9E8EA=="
)
ROOT = "/ohif/"
LUMBAR_FILES = [
    Path(__file__).with_name(name) for name in ("report.js", "lumbar.js", "app-config.js")
]
"""The Orthanc Lumbar scripts in load order; each depends on the previous ones."""
STAMP = ".installed"

# 160 of 204 MB are not needed for MRI, and the service worker would load a script from the
# internet.
SKIPPED_FOLDERS = {"ort", "dicom-microscopy-viewer", "customizations"}
SKIPPED_FILES = {"sw.js", "init-service-worker.js", "app-config.js", "google.js", "serve.json"}
SKIPPED_ENDINGS = {".map"}
COMPRESSED_ENDINGS = {".js", ".css", ".html", ".svg", ".json", ".wasm"}


class InstallError(Exception):
    """The viewer cannot be installed; the message gives the remedy."""


def main() -> int:
    """Install into the folder named on the command line; the exit code is 0 on success."""
    options = _options()
    try:
        installed = install(options.folder, options.package)
    except InstallError as error:
        print(f"ohif: {error}", file=sys.stderr)
        return 2
    print(
        f"{PACKAGE} {'installed in' if installed else 'is already installed in'} {options.folder}"
    )
    return 0


def install(folder: Path, package: Path | None = None) -> bool:
    """Install the viewer into `folder`; return False if this version is already installed.

    The folder is replaced atomically, so a server never sees a partial installation. Raises
    InstallError if the package cannot be fetched or is not the pinned one.
    """
    folder = folder.resolve()
    version = _version()
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text() == version:
        return False
    if folder.exists() and any(folder.iterdir()) and not stamp.exists():
        raise InstallError(f"{folder} contains other files; give a new or empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ohif-", dir=folder.parent) as name:
        new = Path(name) / "viewer"
        new.mkdir()
        new.chmod(0o755)
        _unpack(_checked(package or _fetch(Path(name))), new)
        _reroot(new)
        for file in LUMBAR_FILES:
            shutil.copyfile(file, new / file.name)
        _compress(new)
        (new / STAMP).write_text(version)
        if folder.exists():
            folder.rename(Path(name) / "old")
        new.rename(folder)
    return True


def _version() -> str:
    """The version stamp; it changes with the pinned version, this script and the lumbar files."""
    digest = hashlib.sha256()
    for source in (Path(__file__), *LUMBAR_FILES):
        digest.update(source.read_bytes())
    return f"{PACKAGE} {digest.hexdigest()}\n"


def _fetch(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise InstallError("npm is needed to fetch the viewer: apt-get install npm")
    command = [npm, "pack", PACKAGE, "--pack-destination", str(folder), "--loglevel=error"]
    # Run in a separate folder: npm reads package.json and .npmrc of its working directory.
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = list(folder.glob("*.tgz"))
    if run.returncode or len(found) != 1:
        reason = " ".join(run.stderr.split())[-300:]
        raise InstallError(
            f"npm could not fetch {PACKAGE} ({reason}); fetch it on a machine with internet "
            "access and pass the file with --package"
        )
    return found[0]


def _checked(package: Path) -> Path:
    """Return the package if its SHA-512 is the pinned one (npm's Subresource Integrity format)."""
    try:
        with package.open("rb") as file:
            digest = hashlib.file_digest(file, "sha512").digest()
    except OSError as error:
        raise InstallError(f"cannot read {package}: {error.strerror}") from error
    if f"sha512-{base64.b64encode(digest).decode()}" != INTEGRITY:
        raise InstallError(f"{package} is not {PACKAGE}: its checksum differs from the pinned one")
    return package


def _unpack(package: Path, folder: Path) -> None:
    with tarfile.open(package) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if path.parts[:2] != ("package", "dist") or not member.isfile():
                continue
            inside = PurePosixPath(*path.parts[2:])
            if ".." in inside.parts:
                raise InstallError(
                    f"{package} contains a path outside of its folder: {member.name}"
                )
            if (
                inside.parts[0] in SKIPPED_FOLDERS
                or inside.name in SKIPPED_FILES
                or inside.suffix in SKIPPED_ENDINGS
            ):
                continue
            target = folder / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            # Not `extract`: its filter is missing in Debian 12's Python 3.11.2.
            with archive.extractfile(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)


def _reroot(folder: Path) -> None:
    """Change the root of the build from / to ROOT in the page, the scripts and the styles."""
    page = [folder / "index.html"]
    _replace(page, r'<script[^>]*src="/init-service-worker\.js"[^>]*></script>', "")
    tags = "".join(rf"\1{file.name}\2" for file in LUMBAR_FILES)
    _replace(page, r'(<script[^>]*src="/)app-config\.js("></script>)', tags)
    _replace(page, r'\b(href|src)="/', rf'\1="{ROOT}')
    _replace(page, r'window\.PUBLIC_URL="/"', f'window.PUBLIC_URL="{ROOT}"')
    _replace(
        folder.glob("*.js"), r'__webpack_require__\.p = "/"', f'__webpack_require__.p = "{ROOT}"'
    )
    _replace(folder.glob("*.css"), r"url\(/(?!/)", f"url({ROOT}")


def _replace(files: Iterable[Path], pattern: str, replacement: str) -> None:
    """Replace a pattern in all files; raise InstallError if no file contains it."""
    total = 0
    for file in files:
        text, count = re.subn(pattern, replacement, file.read_text(encoding="utf-8"))
        if count:
            file.write_text(text, encoding="utf-8")
        total += count
    if not total:
        raise InstallError(f"unexpected build of {PACKAGE}: pattern {pattern} not found")


def _compress(folder: Path) -> None:
    """Write a .gz next to every compressible file; both servers send it if it exists."""
    for file in sorted(folder.rglob("*")):
        if file.suffix in COMPRESSED_ENDINGS and file.is_file():
            packed = gzip.compress(file.read_bytes(), compresslevel=6, mtime=0)
            file.with_name(f"{file.name}.gz").write_bytes(packed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, help="target folder: new, empty, or created by this script"
    )
    parser.add_argument("--package", type=Path, help="package file from `npm pack`")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
