"""The SR: what its content tree says, and which shapes it cannot take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace

import pytest
from pydicom import Dataset

from dicom_sr.errors import ReportError
from dicom_sr.findings import (
    TARGETS,
    Condition,
    Graded,
    ImagePoint,
    ImageReference,
    NotAssessed,
    NotAssessedReason,
    Report,
    Target,
)
from dicom_sr.reader import read
from dicom_sr.writer import write

CANAL = Target.parse("L4/L5 spinal canal stenosis")
LEFT = Target.parse("L4/L5 left subarticular stenosis")
RIGHT = Target.parse("L4/L5 right subarticular stenosis")


def named(parent: Dataset, code_value: str) -> list[Dataset]:
    """The direct children with this concept name, found without the library's own look-up."""
    return [
        item
        for item in parent.get("ContentSequence", [])
        if item.ConceptNameCodeSequence[0].CodeValue == code_value
    ]


def groups(sr: Dataset) -> list[Dataset]:
    """The measurement groups, by the path that OHIF takes."""
    return named(named(sr, "126010")[0], "125007")


def group_of(sr: Dataset, target: Target) -> Dataset:
    """The group whose label names this target."""
    (found,) = (g for g in groups(sr) if named(g, "121106")[0].TextValue.startswith(f"{target}:"))
    return found


def walk(item: Dataset) -> Iterator[Dataset]:
    """The item and all content items below it."""
    yield item
    for below in item.get("ContentSequence", []):
        yield from walk(below)


def test_left_is_coded_left(written: Dataset) -> None:
    """Laterality under the Finding Site carries SNOMED's left and right, never swapped."""
    for target, snomed in ((LEFT, "7771000"), (RIGHT, "24028007")):
        site = named(group_of(written, target), "363698007")[0]
        assert site.ConceptCodeSequence[0].CodeValue == "243923001"
        assert [i.ConceptCodeSequence[0].CodeValue for i in named(site, "272741003")] == [snomed]
    assert not named(named(group_of(written, CANAL), "363698007")[0], "272741003")


def test_points_count_from_the_corner_of_the_first_pixel(written: Dataset, report: Report) -> None:
    """The centre of the first pixel is (0.5, 0.5) in an SCOORD; column stands before row."""
    for finding in report.graded:
        certainty = named(group_of(written, finding.target), "111012")[0]
        (scoord,) = certainty.ContentSequence
        assert list(scoord.GraphicData) == [finding.point.column + 0.5, finding.point.row + 0.5]


def test_every_group_is_one_that_ohif_draws(
    written: Dataset, nothing_assessed: Report, sources: list[Dataset]
) -> None:
    """Own tracking UID, an arrow's identifier, one POINT on one IMAGE under the first NUM
    and nowhere else, and at most five lines of text."""
    tracked = set()
    for group in groups(written):
        numbers = [item for item in group.ContentSequence if item.ValueType == "NUM"]
        scoords = [item for item in walk(group) if item.ValueType == "SCOORD"]
        assert list(numbers[0].ContentSequence) == scoords
        assert [s.GraphicType for s in scoords] == ["POINT"]
        assert [i.ValueType for i in scoords[0].ContentSequence] == ["IMAGE"]
        assert len(numbers) + len(named(group, "121106")) <= 5
        identifier = named(group, "112039")[0].TextValue
        assert identifier.startswith("Cornerstone3DTools@^0.1.0:ArrowAnnotate:")
        tracked.add(named(group, "112040")[0].UID)
        assert not [item for item in walk(group) if item.ValueType == "SCOORD3D"]
    assert len(tracked) == len(groups(written)) == 20

    empty = write(
        nothing_assessed, sources, software_version="1", pipeline_version=1, fingerprint="f"
    )
    assert named(empty, "126010")
    assert not groups(empty)


def test_every_target_is_said_once_graded_or_not(written: Dataset, report: Report) -> None:
    """25 targets: a group with geometry each, or a coded reason outside of what OHIF reads."""
    (evaluations,) = named(written, "C0034375")
    reasons = named(evaluations, "NA")
    assert [r.ConceptCodeSequence[0].CodeMeaning for r in reasons] == [
        finding.reason.label for finding in report.not_assessed
    ]
    assert len(reasons) + len(groups(written)) == len(TARGETS)
    for item in reasons:
        assert named(item, "121071")[0].ConceptCodeSequence[0].CodeValue == "NFN"
        assert named(named(item, "363698007")[0], "272741003")


def test_the_worst_finding_comes_last(written: Dataset, report: Report) -> None:
    """Where OHIF lands after restoring: severities never fall from group to group."""
    order = [named(group, "121106")[0].TextValue for group in groups(written)]
    ranks = [report[Target.parse(text.rpartition(":")[0])].severity.rank for text in order]
    assert ranks == sorted(ranks)
    assert {0, 2} <= set(ranks)


def test_the_first_words_say_research(written: Dataset) -> None:
    """Before any finding stands what the reader must know of its origin."""
    text = next(item for item in written.ContentSequence if item.RelationshipType == "CONTAINS")
    assert text.TextValue == (
        "Research use; unverified AI result; levels counted upward from the lowest disc, "
        "five lumbar vertebrae assumed"
    )


def test_the_graded_image_stands_beside_the_one_with_the_point(
    written: Dataset, report: Report
) -> None:
    """A canal's point lies on a sagittal image, its group's source is an axial frame."""
    finding, group = report[CANAL], group_of(written, CANAL)
    assert isinstance(finding, Graded)
    source = named(group, "121112")[0].ReferencedSOPSequence[0]
    assert source.ReferencedSOPInstanceUID == finding.graded_on.sop_instance_uid
    assert source.ReferencedFrameNumber == finding.graded_on.frame
    scoord = named(group, "111012")[0].ContentSequence[0]
    shown = scoord.ContentSequence[0].ReferencedSOPSequence[0]
    assert shown.ReferencedSOPInstanceUID == finding.point.image.sop_instance_uid
    assert "ReferencedFrameNumber" not in shown


@pytest.fixture
def canal(report: Report) -> Graded:
    """A graded finding to break."""
    finding = report[CANAL]
    assert isinstance(finding, Graded)
    return finding


@pytest.mark.parametrize(("column", "row"), [(256, 5), (5, 320), (-0.6, 5), (5, -0.6)])
def test_a_point_outside_its_image_is_refused(
    column: float,
    row: float,
    canal: Graded,
    report_with: Callable[..., Report],
    sources: list[Dataset],
) -> None:
    """Columns and rows are each checked against their own size, and the finding is named."""
    broken = replace(canal, point=ImagePoint(canal.point.image, column, row))
    with pytest.raises(ReportError, match=r"L4/L5 spinal canal stenosis: point .* outside"):
        write(
            report_with({CANAL: broken}),
            sources,
            software_version="1",
            pipeline_version=1,
            fingerprint="f",
        )


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (ImageReference("1.2.3.44036939.2", "1.2.3.44036939.1.1"), "not among"),
        (ImageReference("1.2.3.44036939.2", "1.2.3.44036939.2.1", frame=11), "no frame 11"),
        (ImageReference("1.2.3.44036939.2", "1.2.3.44036939.2.1"), "10 frames"),
        (ImageReference("1.2.3.44036939.1", "1.2.3.44036939.1.1", frame=2), "no frame 2"),
    ],
)
def test_an_image_that_is_no_source_is_refused(
    image: ImageReference,
    what: str,
    canal: Graded,
    report_with: Callable[..., Report],
    sources: list[Dataset],
) -> None:
    """An image of another series, a frame that is not there, a frame left open."""
    for broken in (
        replace(canal, graded_on=image),
        replace(canal, point=ImagePoint(image, 1, 1)),
    ):
        with pytest.raises(ReportError, match=f"L4/L5 spinal canal stenosis: .*{what}"):
            write(
                report_with({CANAL: broken}),
                sources,
                software_version="1",
                pipeline_version=1,
                fingerprint="f",
            )


def test_a_repeated_sop_instance_uid_is_refused_only_where_it_is_pointed_at(
    canal: Graded, report_with: Callable[..., Report], sources: list[Dataset]
) -> None:
    """An SR names images by SOP Instance UID alone: a repeated one may be listed as evidence,
    never referred to by a finding."""
    twin = deepcopy(sources[0])
    twin.SeriesInstanceUID = f"{twin.StudyInstanceUID}.3"
    reason = NotAssessedReason.OUTSIDE_IMAGE
    silent = report_with({target: NotAssessed(target, reason) for target in TARGETS})
    sr = write(silent, [*sources, twin], software_version="1", pipeline_version=1, fingerprint="f")
    series = sr.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [len(s.ReferencedSOPSequence) for s in series] == [5, 1, 1]

    first = ImageReference(sources[0].SeriesInstanceUID, sources[0].SOPInstanceUID)
    broken = report_with({CANAL: replace(canal, point=ImagePoint(first, 1, 1))})
    with pytest.raises(ReportError, match="shares its SOP Instance UID"):
        write(broken, [*sources, twin], software_version="1", pipeline_version=1, fingerprint="f")


def test_a_source_of_another_study_is_refused(report: Report, sources: list[Dataset]) -> None:
    """One image of another study among the sources stops the report."""
    sources[3].StudyInstanceUID = "1.2.3.4"
    with pytest.raises(ReportError, match=r"belongs to study 1\.2\.3\.4"):
        write(report, sources, software_version="1", pipeline_version=1, fingerprint="f")


def test_no_sources_are_refused(report: Report) -> None:
    """Without a source there is no patient to write about."""
    with pytest.raises(ReportError, match="needs the headers of its source images"):
        write(report, [], software_version="1", pipeline_version=1, fingerprint="f")


@pytest.mark.parametrize("name", ["", " lead", "trail ", "two\\values", "x" * 65, "Größe"])
def test_names_that_dicom_would_change_are_refused(
    name: str, report: Report, sources: list[Dataset]
) -> None:
    """What would be trimmed, split, cut or recoded could not be read back equal."""
    broken = replace(report, bundle=replace(report.bundle, name=name))
    with pytest.raises(ReportError, match="bundle name"):
        write(broken, sources, software_version="1", pipeline_version=1, fingerprint="f")


def test_only_conditions_of_the_language_are_written(written: Dataset) -> None:
    """Every group's Finding is one of the three conditions, each of them present."""
    found = {named(g, "121071")[0].ConceptCodeSequence[0].CodeMeaning for g in groups(written)}
    assert {text.lower() for text in found} == {condition.label for condition in Condition}


def test_the_pipeline_version_is_part_of_the_uids(
    report: Report, sources: list[Dataset], fingerprint: str
) -> None:
    """A report of another pipeline version is another instance in another series."""
    names = {"software_version": "1", "fingerprint": fingerprint}
    first, second = (write(report, sources, pipeline_version=n, **names) for n in (1, 2))
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    assert read(first) == read(second) == report
