"""The command `lumbar`: exit codes, and one clear line for whatever goes wrong."""

import json
import subprocess
import sys

import pytest

from tests.support.phantoms import shared_phantom
from worker import __version__
from worker.archive.folder import FolderArchive
from worker.archive.orthanc import OrthancArchive
from worker.cli import main
from worker.cli import studies as verbs
from worker.errors import ArchiveUnavailable
from worker.phantom.writing import write_phantom
from worker.settings import PREFIX, Settings

VERBS = ("grade", "route", "repair", "compare", "phantom", "models", "serve")


@pytest.fixture
def lumbar(capsys):
    """Run the command; gives exit code, stdout and stderr."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """A small phantom study on disk."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(shared_phantom(1), folder)
    return folder


def empty(folder):
    """A folder without a file."""


def text_file(folder):
    """A folder with something that is no DICOM."""
    (folder / "readme.txt").write_text("there was a study here once")


def corrupt(folder):
    """A folder with nothing but a broken DICOM file."""
    (folder / "1.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 500)


def cut_short(folder):
    """A folder with a DICOM file of which only the beginning is there."""
    (folder / "1.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00")


def is_one_line(text):
    """Whether an error is one line of the command's own, without a trace."""
    return text.startswith("lumbar: ") and text.count("\n") == 1 and "Traceback" not in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_teaches_by_an_example(lumbar, verb):
    """The help of each verb holds a line that can be typed as it is."""
    code, out, _ = lumbar(verb, "--help")
    assert code == 0
    assert f"lumbar {verb}" in out.partition("Example")[2]


def test_without_a_verb_the_command_lists_its_verbs(lumbar):
    """`lumbar` alone is a question, not an error."""
    code, out, err = lumbar()
    assert (code, err) == (0, "")
    assert all(verb in out for verb in VERBS)


def test_the_version_is_printed(lumbar):
    """--version prints name and version alone."""
    assert lumbar("--version") == (0, f"lumbar {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("grade",),
        ("grade", "/no/such/folder"),
        ("grade", ".", "--colour"),
        ("route", "/no/such/folder"),
        ("repair", "/no/such/folder", "out"),
        ("compare", "/no/such/file", "--truth", "."),
        ("models", "--bundle", "/no/such/bundle"),
        ("phantom", "out"),
        ("phantom", "out", "--seed", "one"),
        ("phantom", "out", "--seed", "1", "--lesion", "L9/S4 everything=terrible"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_exit_2(lumbar, arguments):
    """Whatever is wrong with the command line, the answer is one line on stderr."""
    code, out, err = lumbar(*arguments)
    assert (code, out) == (2, "")
    assert is_one_line(err)


@pytest.mark.parametrize("fill", [empty, text_file, corrupt, cut_short], ids=lambda f: f.__name__)
@pytest.mark.parametrize("verb", ["grade", "route", "repair"])
def test_a_folder_without_a_usable_study_is_one_line_and_exit_2(
    lumbar, tmp_path, untrained_folder, verb, fill
):
    """A missing study is one line of error without a traceback, and nothing is written."""
    folder = tmp_path / "study"
    folder.mkdir()
    fill(folder)
    more = {"grade": ("--bundle", untrained_folder), "route": (), "repair": (tmp_path / "out",)}
    code, out, err = lumbar(verb, folder, *more[verb])
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_grading(lumbar, phantom, tmp_path):
    """--out below a file is an error before grading."""
    (tmp_path / "file").write_text("in the way")
    code, _, err = lumbar("grade", phantom, "--out", tmp_path / "file" / "out")
    assert code == 2
    assert is_one_line(err)


def test_an_archive_that_does_not_answer_exits_with_75(lumbar, monkeypatch):
    """A transient error has the exit code that mail queues and schedulers retry on."""

    def away(path):
        raise ArchiveUnavailable("the archive does not answer")

    monkeypatch.setattr(verbs, "existing", away)
    assert lumbar("route", ".") == (75, "", "lumbar: the archive does not answer\n")


def test_a_defect_is_one_line_that_quotes_nothing(lumbar, monkeypatch):
    """An unforeseen error may quote a header: only its type is shown, unless debugging."""

    def broken(path):
        raise ValueError("PatientName Mustermann^Erika")

    monkeypatch.setattr(verbs, "existing", broken)
    code, out, err = lumbar("route", ".")
    assert (code, out) == (70, "")
    assert is_one_line(err)
    assert "ValueError" in err
    assert "Mustermann" not in err
    code, _, err = lumbar("--debug", "route", ".")
    assert code == 70
    assert "Traceback" in err


def test_the_command_starts_without_what_is_heavy():
    """Help is quick because no verb's libraries are imported before the verb runs."""
    heavy = "torch", "highdicom", "pydicom", "celery", "numpy", "timm"
    probe = f"import sys, worker.cli; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_route_prints_json_alone(lumbar, phantom):
    """Each series of a phantom has its role and a reason, under the names that others read."""
    code, out, _ = lumbar("route", phantom / "train_images", "--json")
    assert code == 0
    series = json.loads(out)["series"]
    assert {s["role"] for s in series} == {"sagittal_t1", "sagittal_t2", "axial_t2"}
    keys = {"series_instance_uid", "series_description", "role", "reason", "flags", "evidence"}
    assert all(set(s) == keys and s["reason"] and s["evidence"] for s in series)


@pytest.fixture
def pixel_reads(monkeypatch):
    """What was asked of an archive that gives whole objects, pixels and all."""
    asked = []
    for archive in (FolderArchive, OrthancArchive):
        monkeypatch.setattr(archive, "fetch", lambda _, keys: asked.append(keys))
    return asked


def test_a_table_in_a_pipe_is_not_cut(lumbar, phantom, monkeypatch):
    """What is not a terminal has no width: every UID stands whole on the line of its series."""
    monkeypatch.delenv("COLUMNS", raising=False)
    _, document, _ = lumbar("route", phantom, "--json")
    _, out, _ = lumbar("route", phantom)
    for series in json.loads(document)["series"]:
        assert any(
            series["series_instance_uid"] in line and series["reason"] in line
            for line in out.splitlines()
        )


def test_route_explains_every_series_and_reads_no_pixel(lumbar, phantom, pixel_reads):
    """--explain names the rules that spoke for each series; nothing but headers is read."""
    code, out, _ = lumbar("route", phantom / "train_images", "--explain")
    assert code == 0
    assert out.count("orientation  ") == out.count("echo_and_repetition  ") == 3
    assert pixel_reads == []


def test_route_asks_orthanc_for_headers_alone(lumbar, phantom, pixel_reads, monkeypatch):
    """--orthanc finds a study by its UID and routes it by one request for its headers."""
    instances = FolderArchive().headers(str(phantom / "train_images"))
    asked = []
    monkeypatch.setattr(OrthancArchive, "study_id", lambda _, name: asked.append(name) or "own")
    monkeypatch.setattr(
        OrthancArchive, "headers", lambda _, study: asked.append(study) or instances
    )
    code, out, _ = lumbar("route", "--orthanc", "1.2.3", "--json")
    assert code == 0
    assert len(json.loads(out)["series"]) == 3
    assert asked == ["1.2.3", "own"]
    assert pixel_reads == []


@pytest.mark.parametrize("arguments", [(), (".", "--orthanc", "1.2.3")])
def test_route_wants_one_study(lumbar, arguments):
    """Neither a folder nor an id, or both, is wrong usage."""
    code, out, err = lumbar("route", *arguments)
    assert (code, out) == (2, "")
    assert is_one_line(err)


def test_a_site_rule_decides_and_is_named(lumbar, phantom, tmp_path, monkeypatch):
    """--rules and LUMBAR_SITE_RULES both reach the routing; a broken file is one line, exit 2."""
    file = tmp_path / "site.toml"
    file.write_text('[[rule]]\nname = "no T1"\ndescription = "t1"\nrole = "none"\nreason = "x"\n')

    def routed(*option):
        code, out, _ = lumbar("route", phantom / "train_images", "--json", *option)
        assert code == 0
        return json.loads(out)["series"]

    by_option = routed("--rules", file)
    monkeypatch.setenv("LUMBAR_SITE_RULES", str(file))
    assert routed() == by_option
    assert {s["role"] for s in by_option} == {None, "sagittal_t2", "axial_t2"}
    assert ["no T1" in s["reason"] for s in by_option].count(True) == 1
    file.write_text('[[rule]]\nname = "no T1"\n')
    for verb in ("route", "grade"):
        code, out, err = lumbar(verb, phantom / "train_images")
        assert (code, out) == (2, "")
        assert is_one_line(err)
        assert "line 1" in err


def test_a_phantom_is_written_with_the_lesions_asked_for(lumbar, tmp_path):
    """The lesions of the command line are in the truth, and every other target is normal."""
    lesion = "L4/L5 left subarticular stenosis=severe"
    code, out, _ = lumbar("phantom", tmp_path, "--seed", 3, "--slices", "small", "--lesion", lesion)
    assert code == 0
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert f"train_images/{truth['study_instance_uid']}" in out
    lesions = [f for f in truth["findings"] if f["severity"] != "normal_mild"]
    assert [(f["level"], f["side"], f["severity"]) for f in lesions] == [
        ("L4/L5", "left", "severe")
    ]


def test_repair_prints_the_folder_of_the_copy(lumbar, phantom, tmp_path):
    """A complete study is copied as it is, file by file."""
    code, out, _ = lumbar("repair", phantom / "train_images", tmp_path / "out")
    assert code == 0
    assert str(tmp_path / "out") in out
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == sum((9, 7, 15))


def test_every_setting_is_listed_whole_on_a_narrow_terminal(lumbar, monkeypatch):
    """On 80 columns no name is cut off or broken: it can be copied."""
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = lumbar("serve", "--settings")
    lines = out.splitlines()
    assert code == 0
    assert max(map(len, lines)) <= 80
    named = {line.split()[0] for line in lines if line.startswith(f" {PREFIX}")}
    assert named == {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def test_models_are_listed_and_a_changed_file_is_reported(lumbar, untrained_folder, tmp_path):
    """A bundle whose files are those of the card is intact; one byte more is reported, exit 2."""
    code, out, _ = lumbar("models", "--bundle", untrained_folder, "--json")
    assert code == 0
    assert all(network["intact"] for network in json.loads(out)["networks"])
    for file in untrained_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with (tmp_path / "axial_grades-0.safetensors").open("ab") as file:
        file.write(b"x")
    code, out, err = lumbar("models", "--bundle", tmp_path)
    assert code == 2
    assert "DIFFERS" in out
    assert is_one_line(err)
    assert "axial_grades-0.safetensors" in err


def test_a_study_is_graded_written_and_compared(lumbar, phantom, untrained_folder, tmp_path):
    """All steps by the command: 25 findings, four kinds of files, a comparison."""
    study = phantom / "train_images"
    code, out, err = lumbar(
        "grade", study, "--bundle", untrained_folder, "--device", "cpu", "--out", tmp_path, "--json"
    )
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert len(content["findings"]) == 25
    assert json.loads((tmp_path / "report.json").read_text())["findings"] == content["findings"]
    assert {p.name for p in tmp_path.iterdir()} == {
        "report.json",
        "report.html",
        "report.dcm",
        "slices",
    }
    code, out, _ = lumbar("compare", tmp_path, "--truth", phantom, "--json")
    assert code == 0
    assert json.loads(out)["labelled"] == 25


def test_a_report_about_another_study_is_refused(lumbar, phantom, tmp_path):
    """A study that the tables do not hold is one line and exit 2."""
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"study_instance_uid": "1.2.3", "findings": []}))
    code, out, err = lumbar("compare", report, "--truth", phantom)
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert "1.2.3" in err
