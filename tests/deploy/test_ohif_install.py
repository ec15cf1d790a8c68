"""The viewer's installation: the pinned package and no other, rooted at /ohif/."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import tarfile
from pathlib import Path

import pytest

from deploy.demo import stack

SCRIPT = stack.ROOT / "deploy" / "ohif" / "install.py"

BUILD = {
    "index.html": '<script src="/init-service-worker.js"></script>'
    '<script src="/app-config.js"></script><link href="/app.css">'
    '<script>window.PUBLIC_URL="/"</script>',
    "app.js": '__webpack_require__.p = "/";',
    "app.css": "url(/font.woff2)",
    "app.js.map": "{}",
    "app-config.js": "theirs",
    "sw.js": "service worker",
    "ort/model.wasm": "large",
    "assets/icon.svg": "<svg/>",
}


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("ohif_install", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def packed(path: Path, files: dict[str, str]) -> Path:
    """An npm package with these files in its build."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def package(install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A small build of the same shape, for once the pinned one."""
    inside = {f"package/dist/{name}": text for name, text in BUILD.items()}
    path = packed(tmp_path / "app.tgz", inside | {"package/readme.md": ""})
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    monkeypatch.setattr(install, "INTEGRITY", f"sha512-{digest}")
    return path


def test_the_build_is_rooted_and_ours_is_loaded_first(install, package, tmp_path):
    """Every address begins with /ohif/, and each script of ours stands before who uses it."""
    folder = tmp_path / "viewer"
    assert install.install(folder, package)
    page = (folder / "index.html").read_text()
    places = [page.index(f'src="/ohif/{file.name}"') for file in install.LUMBAR_FILES]
    assert places == sorted(places)
    assert 'href="/ohif/app.css"' in page
    assert 'PUBLIC_URL="/ohif/"' in page
    assert (folder / "app.js").read_text() == '__webpack_require__.p = "/ohif/";'
    assert (folder / "app.css").read_text() == "url(/ohif/font.woff2)"
    for file in install.LUMBAR_FILES:
        assert (folder / file.name).read_text() == file.read_text()


def test_what_calls_home_or_is_not_needed_stays_out(install, package, tmp_path):
    """No service worker (it loads a script from outside), no models, no source maps."""
    install.install(tmp_path / "viewer", package)
    names = {str(p.relative_to(tmp_path / "viewer")) for p in (tmp_path / "viewer").rglob("*")}
    assert not {n for n in names if n.startswith(("ort", "sw.js")) or ".map" in n}
    assert "assets/icon.svg" in names
    assert "service-worker" not in (tmp_path / "viewer" / "index.html").read_text()


def test_a_second_run_does_nothing_and_a_change_does_it_anew(install, package, tmp_path):
    """The folder is made once for each version of the viewer and of our configuration."""
    folder = tmp_path / "viewer"
    assert install.install(folder, package)
    assert not install.install(folder, package)
    (folder / install.STAMP).write_text("another version")
    (folder / "left over").touch()
    assert install.install(folder, package)
    assert not (folder / "left over").exists()


def test_another_package_is_refused(install, tmp_path):
    """What is not the pinned file, byte for byte, is not installed."""
    other = packed(tmp_path / "other.tgz", {"package/dist/index.html": ""})
    with pytest.raises(install.InstallError, match="checksum differs"):
        install.install(tmp_path / "viewer", other)
    assert not (tmp_path / "viewer").exists()


def test_a_build_of_another_shape_is_refused(install, package, monkeypatch, tmp_path):
    """A later OHIF that must be rooted otherwise is noticed here and not in a blank page."""
    other = packed(tmp_path / "other.tgz", {"package/dist/index.html": "<html>"})
    monkeypatch.setattr(install, "_checked", lambda path: path)
    with pytest.raises(install.InstallError, match="unexpected build"):
        install.install(tmp_path / "viewer", other)
    assert not (tmp_path / "viewer").exists()


def test_no_file_leaves_the_folder(install, monkeypatch, tmp_path):
    """A package that tries to write elsewhere is refused, whatever its checksum."""
    evil = packed(tmp_path / "evil.tgz", {"package/dist/../../../outside": "evil"})
    monkeypatch.setattr(install, "_checked", lambda path: path)
    with pytest.raises(install.InstallError, match="outside of its folder"):
        install.install(tmp_path / "viewer", evil)
    assert not list(tmp_path.rglob("outside"))


def test_a_folder_of_something_else_is_left_alone(install, package, tmp_path):
    """A typing error in the folder's name must not cost what lies there."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "file").touch()
    with pytest.raises(install.InstallError, match="contains other files"):
        install.install(tmp_path / "home", package)
    assert (tmp_path / "home" / "file").exists()


def test_without_npm_the_message_says_what_to_do(install, monkeypatch, tmp_path):
    """An administrator learns what is missing in one line."""
    monkeypatch.setattr(install.shutil, "which", lambda _: None)
    with pytest.raises(install.InstallError, match="npm is needed"):
        install.install(tmp_path / "viewer")
