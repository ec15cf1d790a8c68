"""The plugin's answers for the viewer under /ohif/."""

import gzip
from pathlib import Path

import pytest

ADDRESS = "/ohif/(.*)"


class Output:
    """What Orthanc would send."""

    def __init__(self):
        self.headers, self.body, self.media_type, self.refused = {}, None, None, None

    def SetHttpHeader(self, name, value):  # noqa: N802 - Orthanc's name
        self.headers[name] = value

    def AnswerBuffer(self, body, media_type):  # noqa: N802 - Orthanc's name
        self.body, self.media_type = body, media_type

    def SendMethodNotAllowed(self, allowed):  # noqa: N802 - Orthanc's name
        self.refused = allowed


@pytest.fixture
def get(load_plugin, monkeypatch, tmp_path: Path):
    """Asks the plugin for an address below /ohif/, with a small viewer in its folder."""
    folder = tmp_path / "viewer"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("page")
    (folder / "index.html.gz").write_bytes(gzip.compress(b"page"))
    (folder / "app.bundle.0123456789abcdef.js").write_text("script")
    (folder / "assets" / "icon.png").write_bytes(b"png")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setenv("LUMBAR_OHIF", str(folder))
    serve = load_plugin().rest[ADDRESS]

    def ask(name: str, method: str = "GET", accept: str = "") -> Output:
        output = Output()
        headers = {"accept-encoding": accept} if accept else {}
        serve(output, f"/ohif/{name}", groups=[name], method=method, headers=headers, get={})
        return output

    return ask


def test_files_come_with_their_media_type(get):
    """A browser refuses a script or a picture of another type."""
    assert (get("assets/icon.png").body, get("assets/icon.png").media_type) == (b"png", "image/png")
    script = get("app.bundle.0123456789abcdef.js")
    assert (script.body, script.media_type) == (b"script", "text/javascript")


@pytest.mark.parametrize("name", ["", "viewer", "viewer/dicomweb", "no-such-file.js"])
def test_every_address_within_the_viewer_is_its_page(get, name):
    """The viewer reads its own address: a link into it must not end in 404."""
    assert (get(name).body, get(name).media_type) == (b"page", "text/html")


@pytest.mark.parametrize("name", ["../secret.txt", "assets/../../secret.txt", "/etc/passwd"])
def test_nothing_outside_the_folder_is_read(get, name):
    """No address leads out of the viewer's folder."""
    assert get(name).body == b"page"


def test_what_is_compressed_already_is_sent_so_to_those_who_read_it(get):
    """17 MB of script would be sent on every visit otherwise."""
    packed = get("viewer", accept="gzip, deflate")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == b"page"
    assert packed.media_type == "text/html"
    assert "Content-Encoding" not in get("viewer", accept="br").headers


def test_only_names_with_a_hash_are_kept_for_ever(get):
    """After an upgrade a browser must not go on with the old page."""
    assert "immutable" in get("app.bundle.0123456789abcdef.js").headers["Cache-Control"]
    assert get("viewer").headers["Cache-Control"] == "no-cache"


def test_only_reading_is_answered(get):
    """The viewer's address takes nothing."""
    output = get("viewer", method="POST")
    assert (output.refused, output.body) == ("GET", None)


def test_without_a_viewer_the_log_says_what_to_do(load_plugin, monkeypatch, tmp_path):
    """A folder without the viewer is named with the command that makes it; grading goes on."""
    monkeypatch.setenv("LUMBAR_OHIF", str(tmp_path))
    plugin = load_plugin()
    assert plugin.rest == {}
    assert any("deploy/ohif/install.py" in line for line in plugin.logged)


def test_no_viewer_is_served_unless_asked_for(plugin):
    """Without LUMBAR_OHIF the plugin only announces studies."""
    assert plugin.rest == {}
