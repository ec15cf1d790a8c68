"""`lumbar sr show` and `lumbar sr check`: what a Structured Report says, and what is wrong."""

import json
from copy import deepcopy

import pytest
from pydicom import dcmread, dcmwrite

from dicom_sr.findings import (
    TARGETS,
    BundleIdentity,
    Condition,
    Graded,
    ImagePoint,
    ImageReference,
    NotAssessed,
    NotAssessedReason,
    Probabilities,
    Report,
)
from dicom_sr.uids import fingerprint
from dicom_sr.writer import write
from tests.support.phantoms import shared_phantom
from worker.archive.folder import FolderArchive
from worker.cli import main
from worker.phantom.writing import write_phantom

BUNDLE = BundleIdentity("small", "1.2", "ab" * 32, "2.25.7")


@pytest.fixture
def lumbar(capsys):
    """Run the command; gives exit code, stdout and stderr."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of a phantom's images."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(shared_phantom(1), folder)
    return folder / "train_images"


@pytest.fixture(scope="module")
def headers(study):
    """The headers of its images."""
    return [instance.header for instance in FolderArchive().headers(str(study))]


@pytest.fixture(scope="module")
def report(headers):
    """The canals graded on two images, everything else not assessed."""
    shown, graded_on = (ImageReference(h.SeriesInstanceUID, h.SOPInstanceUID) for h in headers[:2])
    findings = [
        Graded(target, Probabilities(0.1, 0.2, 0.7), 0.5, ImagePoint(shown, 3.5, 4.25), graded_on)
        if target.condition is Condition.SPINAL_CANAL_STENOSIS
        else NotAssessed(target, NotAssessedReason.NO_AXIAL_T2)
        for target in TARGETS
    ]
    return Report(headers[0].StudyInstanceUID, BUNDLE, tuple(findings))


@pytest.fixture(scope="module")
def written(report, headers):
    """The report as an SR."""
    images = [ImageReference(h.SeriesInstanceUID, h.SOPInstanceUID) for h in headers]
    return write(
        report, headers, software_version="0.9", pipeline_version=1, fingerprint=fingerprint(images)
    )


@pytest.fixture
def saved(tmp_path):
    """Save an SR; gives the path."""

    def save(dataset, name="report.dcm"):
        dcmwrite(tmp_path / name, dataset, enforce_file_format=True)
        return tmp_path / name

    return save


def is_one_line(text):
    """Whether an error is one line of the command's own."""
    return text.startswith("lumbar: ") and text.count("\n") == 1


@pytest.mark.parametrize("verb", ["show", "check"])
def test_each_verb_teaches_by_an_example(lumbar, verb):
    """The help holds a line that can be typed as it is."""
    code, out, _ = lumbar("sr", verb, "--help")
    assert code == 0
    assert f"lumbar sr {verb}" in out.partition("Example")[2]


def test_without_a_verb_it_lists_its_verbs(lumbar):
    """`lumbar sr` alone is a question, not an error."""
    code, out, err = lumbar("sr")
    assert (code, err) == (0, "")
    assert "show" in out
    assert "check" in out


def test_show_prints_the_tree_and_the_table(lumbar, saved, written, report):
    """First what stands in the file, then the table that `lumbar grade` prints."""
    code, out, err = lumbar("sr", "show", saved(written))
    assert (code, err) == (0, "")
    tree, _, table = out.partition("\n\n")
    assert tree.startswith("CONTAINER Imaging Measurement Report\n")
    assert "contains TEXT Comment = L4/L5 spinal canal stenosis: Severe" in tree
    assert "inferred from SCOORD Source = POINT 4, 4.75" in tree
    assert table.startswith(f"Study {report.study_instance_uid}\n")
    assert "5 of 25 targets graded; 20 not assessed." in " ".join(table.split())


def test_show_prints_json_alone(lumbar, saved, written, report, headers):
    """Study, models, version and every finding with its point, under the names of report.json."""
    folder = saved(written).parent
    code, out, _ = lumbar("sr", "show", folder, "--json")
    assert code == 0
    content = json.loads(out)
    assert content["study_instance_uid"] == report.study_instance_uid
    assert content["bundle"]["version"] == "1.2"
    assert content["software_version"] == "0.9"
    assert content["predecessor"] is None
    graded, other = content["findings"][0], content["findings"][-1]
    assert len(content["findings"]) == 25
    assert (graded["level"], graded["severity"], graded["status"]) == ("L1/L2", "severe", "graded")
    assert graded["point"] == {
        "series_instance_uid": headers[0].SeriesInstanceUID,
        "sop_instance_uid": headers[0].SOPInstanceUID,
        "frame": None,
        "column": 3.5,
        "row": 4.25,
    }
    assert (other["status"], other["side"]) == ("not_assessed", "right")
    assert (other["reason"], other["reason_code"]) == ("no axial T2", "no_axial_t2")
    assert set(graded) == set(other)


def test_show_names_the_predecessor(lumbar, saved, written, report, headers):
    """A revision says which report it replaces."""
    revised = write(
        report,
        headers,
        software_version="1",
        pipeline_version=1,
        fingerprint="later",
        predecessor=written,
    )
    _, out, _ = lumbar("sr", "show", saved(revised), "--json")
    assert json.loads(out)["predecessor"] == written.SOPInstanceUID


def test_show_refuses_what_is_not_ours_or_contradicts_itself(lumbar, saved, written, study):
    """Another system's SR, an image and a damaged report: one line, exit 2, nothing printed."""
    foreign, damaged = deepcopy(written), deepcopy(written)
    del foreign.CodingSchemeIdentificationSequence
    damaged.ContentSequence.pop()
    for path, message in (
        (saved(foreign, "foreign.dcm"), "not a lumbar report"),
        (next(study.rglob("*.dcm")), "not a lumbar report"),
        (saved(damaged, "damaged.dcm"), "damaged lumbar report"),
    ):
        code, out, err = lumbar("sr", "show", path)
        assert (code, out) == (2, "")
        assert is_one_line(err)
        assert message in err


def test_check_finds_nothing_wrong_with_what_is_written(lumbar, saved, written, study):
    """By itself, in its folder, and against the images it was made from."""
    path = saved(written)
    for arguments in ((path,), (path.parent,), (path, "--images", study)):
        assert lumbar("sr", "check", *arguments) == (0, "no problem found\n", "")


def test_check_names_an_error_and_exits_with_2(lumbar, saved, written):
    """A group without geometry blanks OHIF: the table names it, the exit code tells scripts."""
    broken = deepcopy(written)
    group = broken.ContentSequence[10].ContentSequence[0]
    number = next(item for item in group.ContentSequence if "ContentSequence" in item)
    del number.ContentSequence
    code, out, err = lumbar("sr", "check", saved(broken))
    assert (code, err) == (2, "")
    table = " ".join(out.replace("│", " ").split())
    assert "group 1" in table
    assert "no SCOORD" in table
    assert "errors: 2, warnings: 0" in table


def test_check_lets_warnings_pass(lumbar, saved, written):
    """What only costs comfort is shown, and is no failure."""
    poorer = deepcopy(written)
    del poorer.PreliminaryFlag
    code, out, _ = lumbar("sr", "check", saved(poorer))
    assert code == 0
    assert "PreliminaryFlag" in out
    assert "errors: 0, warnings: 1" in out


def test_check_tells_an_image_from_a_report(lumbar, study):
    """Any DICOM file may be asked about."""
    code, out, _ = lumbar("sr", "check", next(study.rglob("*.dcm")))
    assert code == 2
    assert "not a Structured Report" in out


def test_check_sees_whose_images_they_are_and_prints_no_name(lumbar, saved, written, study):
    """Against images of another patient the difference is named, the values are not."""
    other = deepcopy(written)
    other.PatientName, other.PatientID = "Mustermann^Erika", "4711"
    code, out, err = lumbar("sr", "check", saved(other), "--images", study)
    assert code == 2
    assert "PatientName" in out
    own = dcmread(next(study.rglob("*.dcm")), stop_before_pixels=True)
    for secret in ("Mustermann", "4711", str(own.PatientName), str(own.PatientID)):
        assert secret
        assert secret not in out + err


def test_check_compares_with_images_alone(lumbar, saved, written, study, tmp_path):
    """Another SR in the folder is not an image, and a folder without images is an error."""
    saved(written)
    code, _, err = lumbar("sr", "check", tmp_path, "--images", tmp_path)
    assert code == 2
    assert is_one_line(err)
    assert "no DICOM image" in err


def test_files_that_cannot_be_read_are_one_line(lumbar, saved, written, tmp_path):
    """No file, a folder without report.dcm, a text: exit 2 and a sentence."""
    (tmp_path / "text.dcm").write_text("no DICOM here")
    for verb in ("show", "check"):
        for path in ("/no/such/file", tmp_path, tmp_path / "text.dcm"):
            code, out, err = lumbar("sr", verb, path)
            assert (code, out) == (2, "")
            assert is_one_line(err)
    code, _, err = lumbar("sr", "check", saved(written), "--images", "/no/such/folder")
    assert code == 2
    assert is_one_line(err)
