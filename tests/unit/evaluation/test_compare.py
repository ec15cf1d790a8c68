"""A report against the challenge's tables, on a phantom whose truth is known."""

import csv
import json
import shutil

import pytest

from dicom_sr.findings import TARGETS, Condition, Level, Severity, Side, Target
from worker.domain.study import Role
from worker.errors import BadSettings
from worker.evaluation.compare import as_json, compare, read_report
from worker.phantom.protocol import SMALL
from worker.phantom.study import SHOWN_ON, make_phantom
from worker.phantom.writing import write_phantom

LESIONS = {
    Target(Condition.SPINAL_CANAL_STENOSIS, Level.L4_L5): Severity.SEVERE,
    Target(Condition.SUBARTICULAR_STENOSIS, Level.L5_S1, Side.RIGHT): Severity.MODERATE,
}
CANAL = Target(Condition.SPINAL_CANAL_STENOSIS, Level.L3_L4)
FORAMEN = Target(Condition.NEURAL_FORAMINAL_NARROWING, Level.L2_L3, Side.LEFT)
RECESS = Target(Condition.SUBARTICULAR_STENOSIS, Level.L4_L5, Side.RIGHT)


@pytest.fixture(scope="module")
def phantom():
    """One phantom study."""
    return make_phantom(5, LESIONS, slices=SMALL)


@pytest.fixture(scope="module")
def truth(phantom, tmp_path_factory):
    """The phantom on disk."""
    folder = tmp_path_factory.mktemp("truth")
    write_phantom(phantom, folder)
    return folder


@pytest.fixture
def report(phantom):
    """A report that says exactly what the truth says."""
    return {
        "study_instance_uid": phantom.study_instance_uid,
        "findings": [entry(phantom, target) for target in TARGETS],
    }


def entry(phantom, target, slices=0, column=0.0, row=0.0):
    """A graded finding at the true point, or that many slices and pixels away from it."""
    point = phantom.points[target]
    series = phantom.of(SHOWN_ON[target.condition])
    index = point.index + slices
    plane = series.planes[index]
    place = plane.to_px(series.planes[point.index].to_mm(*true_pixel(point)))
    place = (place[0] + column, place[1] + row)
    return {
        "condition": target.condition.value,
        "side": target.side,
        "level": target.level.value,
        "status": "graded",
        "severity": phantom.severities[target].value,
        "reason": None,
        "point": {
            "series_instance_uid": series.series_instance_uid,
            "sop_instance_uid": series.sop_instance_uids[index],
            "frame": None,
            "instance_number": index + 1,
            "column": place[0],
            "row": place[1],
            "patient_mm": [float(value) for value in plane.to_mm(*place)],
        },
    }


def true_pixel(point):
    """Column and row of a point of the truth."""
    return point.image_point.column, point.image_point.row


def replace(report, target, finding):
    """The report with another finding for one target."""
    findings = list(report["findings"])
    findings[TARGETS.index(target)] = finding
    return report | {"findings": findings}


def of(comparison, target):
    """What was compared for one target."""
    return comparison.targets[TARGETS.index(target)]


def test_the_truth_agrees_with_itself(report, truth):
    """A report made of the truth has every grade right, no distance, and meets every bar."""
    comparison = compare(report, truth)
    assert not comparison.problems
    assert all(c.correct for c in comparison.targets)
    for c in comparison.targets:
        assert c.distance.in_plane_mm < 0.01
        assert c.distance.through_plane_mm < 0.01
        assert c.distance.slices_apart == 0
        assert c.distance.on_its_side is (None if c.target.side is None else True)
    assert all(check.passed for check in comparison.point_checks)


@pytest.mark.parametrize("target", [CANAL, FORAMEN, RECESS], ids=str)
def test_distance_in_the_plane_is_in_millimetres(phantom, report, truth, target):
    """Three pixels one way and four the other are five times the pixel spacing."""
    spacing = phantom.of(SHOWN_ON[target.condition]).planes[0].row_spacing_mm
    moved = replace(report, target, entry(phantom, target, column=3, row=-4))
    distance = of(compare(moved, truth), target).distance
    assert distance.in_plane_mm == pytest.approx(5 * spacing, abs=0.02)
    assert distance.slices_apart == 0


@pytest.mark.parametrize("target", [CANAL, FORAMEN], ids=str)
def test_slices_apart_are_counted_in_the_annotated_series(phantom, report, truth, target):
    """A point on the next slice is one slice and one slice spacing away, not farther in plane."""
    index = phantom.points[target].index
    step = 1 if index == 0 else -1
    moved = replace(report, target, entry(phantom, target, slices=step))
    distance = of(compare(moved, truth), target).distance
    spacing = phantom.of(SHOWN_ON[target.condition]).acquisition.slice_spacing_mm
    assert distance.slices_apart == 1
    assert distance.through_plane_mm == pytest.approx(spacing, abs=0.05)
    assert distance.in_plane_mm < 0.05


def test_an_axial_plane_is_measured_from_the_annotated_point(phantom, report, truth):
    """The wrong axial slice shows as distance of its plane and misses its bar when too far."""
    series = phantom.of(Role.AXIAL_T2)
    point = phantom.points[RECESS]
    place = series.planes[point.index].to_mm(*true_pixel(point))
    far = max(range(len(series.planes)), key=lambda i: abs(series.planes[i].distance_mm(place)))
    moved = replace(report, RECESS, entry(phantom, RECESS, slices=far - point.index))
    comparison = compare(moved, truth)
    expected = abs(series.planes[far].distance_mm(place))
    assert of(comparison, RECESS).distance.through_plane_mm == pytest.approx(expected, abs=0.01)
    missed = [c.name for c in comparison.point_checks if not c.passed]
    assert missed == ["axial planes: largest distance"]


def test_a_foramen_on_the_other_side_is_called_wrong(phantom, report, truth):
    """Left and right exchanged at one level is seen, whatever the distances."""
    other = Target(FORAMEN.condition, FORAMEN.level, Side.RIGHT)
    swapped = entry(phantom, other) | {"side": "left"}
    comparison = compare(replace(report, FORAMEN, swapped), truth)
    assert of(comparison, FORAMEN).distance.on_its_side is False
    check = next(c for c in comparison.point_checks if c.name == "foramina: on their side")
    assert (check.value, check.passed) == ("9 of 10", False)


def test_a_wrong_grade_and_a_missing_one_are_distinguished(phantom, report, truth):
    """A wrong grade counts against the report; a target not assessed keeps its reason."""
    wrong = entry(phantom, CANAL) | {"severity": "severe"}
    missing = entry(phantom, RECESS) | {
        "status": "not_assessed",
        "severity": None,
        "point": None,
        "reason": "no axial T2",
    }
    comparison = compare(replace(replace(report, CANAL, wrong), RECESS, missing), truth)
    assert of(comparison, CANAL).correct is False
    assert of(comparison, RECESS).correct is None
    assert of(comparison, RECESS).reason == "no axial T2"
    content = json.loads(json.dumps(as_json(comparison)))
    assert (content["labelled"], content["compared"], content["correct"]) == (25, 24, 23)


def test_a_missing_label_is_no_error(report, truth, tmp_path):
    """A study without some labels is compared on the others."""
    shutil.copytree(truth, tmp_path, dirs_exist_ok=True)
    table = tmp_path / "train.csv"
    rows = list(csv.reader(table.open()))
    rows[1][1] = ""
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    comparison = compare(report, tmp_path)
    assert comparison.targets[0].truth is None
    assert as_json(comparison)["labelled"] == 24


def test_the_study_is_found_by_the_last_part_of_its_uid(report, truth):
    """Research exports put the challenge's number at the end of a UID."""
    uid = report["study_instance_uid"]
    assert compare(report | {"study_instance_uid": f"1.2.3.{uid.rpartition('.')[2]}"}, named(truth))


def named(truth):
    """The tables with the study called by the last part of its UID."""
    folder = truth.parent / "renamed"
    if not folder.exists():
        shutil.copytree(truth, folder)
        study = next((folder / "train_images").iterdir())
        last = study.name.rpartition(".")[2]
        study.rename(study.with_name(last))
        for table in folder.glob("*.csv"):
            table.write_text(table.read_text().replace(f"\n{study.name},", f"\n{last},"))
    return folder


def test_without_images_the_grades_are_still_compared(report, truth, tmp_path):
    """Without the images of the study there are no distances, and a problem is listed."""
    for table in truth.glob("*.csv"):
        shutil.copy(table, tmp_path)
    comparison = compare(report, tmp_path)
    assert all(c.correct and c.distance is None for c in comparison.targets)
    assert len(comparison.problems) == 1
    assert all(check.passed is None for check in comparison.point_checks)


def test_an_image_that_is_missing_costs_its_point_alone(phantom, report, truth, tmp_path):
    """One lost file of the truth is one line, not the end."""
    shutil.copytree(truth, tmp_path, dirs_exist_ok=True)
    point = phantom.points[FORAMEN]
    series = phantom.of(Role.SAGITTAL_T1).series_instance_uid
    (
        tmp_path / "train_images" / phantom.study_instance_uid / series / f"{point.index + 1}.dcm"
    ).unlink()
    comparison = compare(report, tmp_path)
    assert of(comparison, FORAMEN).distance is None
    assert any(str(FORAMEN) in problem for problem in comparison.problems)
    assert of(comparison, CANAL).distance is not None


def test_a_study_that_is_not_in_the_tables_is_refused(report, truth):
    """The error names the study and the folder."""
    with pytest.raises(BadSettings, match=r"study 1\.2\.3 is not in the tables"):
        compare(report | {"study_instance_uid": "1.2.3"}, truth)


def test_a_folder_without_tables_is_refused(report, tmp_path):
    """The error names the missing table."""
    with pytest.raises(BadSettings, match=r"train\.csv is missing"):
        compare(report, tmp_path)


@pytest.mark.parametrize("content", [{}, {"study_instance_uid": "1", "findings": [{}]}])
def test_what_is_no_report_is_refused(content, truth):
    """JSON of another shape is an error of the user, not a crash."""
    with pytest.raises(BadSettings, match=r"not a report\.json"):
        compare(content, truth)


@pytest.mark.parametrize("text", ["", "no json", "[1]"])
def test_a_file_that_holds_no_report_is_refused(text, tmp_path):
    """Neither broken JSON nor JSON of another kind gives a traceback."""
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(BadSettings, match=r"report\.json"):
        read_report(tmp_path)
