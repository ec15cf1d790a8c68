"""The page that a person opens."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian

from dicom_sr.content import NOTICE
from dicom_sr.findings import (
    TARGETS,
    Condition,
    Level,
    NotAssessed,
    NotAssessedReason,
    Severity,
    Side,
    Target,
)
from worker.domain.study import Repair, RepairKind, Role
from worker.report.finding_images import draw_finding_images
from worker.report.report_files import write_report
from worker.report.report_page import report_page
from worker.report.text import COLUMNS, percent, summarise_repairs, summary


class Outline(HTMLParser):
    """Rows of the table of grades, and every link and image."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.rows, self.links, self.images, self.target = {}, [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.target = attrs.get("data-target")
            if self.target:
                self.cells[self.target] = ""
                self.rows[-1].append(self.target)
        if tag == "a":
            self.links.append(attrs["href"])
        if tag == "img":
            self.images.append(attrs)

    def handle_endtag(self, tag):
        if tag == "td":
            self.target = None

    def handle_data(self, data):
        if self.target:
            self.cells[self.target] += f" {data.strip()}"


@pytest.fixture
def drawn(graded_study):
    """The page and its outline."""
    text = report_page(graded_study, draw_finding_images(graded_study.report, graded_study.volumes))
    return text, Outline(text)


def test_every_target_stands_in_its_cell(drawn, graded_study):
    """Rows are levels, columns the five places, each cell with its own grade in words."""
    _, outline = drawn
    rows = [row for row in outline.rows if row]
    for level, row in zip(Level, rows, strict=True):
        assert row == [str(Target(c, level, side)) for _, c, side in COLUMNS]
    for finding in graded_study.report.graded:
        cell = outline.cells[str(finding.target)]
        assert finding.severity.label in cell
        assert f"confidence {percent(finding.confidence)}" in cell
        others = {s.label for s in Severity} - {finding.severity.label}
        assert not any(word in cell for word in others)


def test_study_and_targets_are_linked_to_the_viewer(drawn, graded_study):
    """With a viewer each cell leads to its target there; without one nothing leads anywhere."""
    root = "https://pacs.example/ohif/"
    links = Outline(report_page(graded_study, (), root)).links
    study = f"https://pacs.example/ohif/viewer?StudyInstanceUIDs={graded_study.report.study_instance_uid}"
    assert links[0] == study
    fragments = [unquote(link.removeprefix(f"{study}#target=")) for link in links[1:]]
    assert sorted(fragments) == sorted(
        str(finding.target) for finding in graded_study.report.graded
    )
    assert not any("viewer" in link for link in drawn[1].links)


@pytest.mark.parametrize("reason", NotAssessedReason)
def test_a_reason_is_shown_as_text(make, reason):
    """Whatever the reason, the cell of a target without a grade says it."""
    target = Target(Condition.NEURAL_FORAMINAL_NARROWING, Level.L2_L3, Side.RIGHT)
    graded_study = make({target: NotAssessed(target, reason)})
    cell = Outline(report_page(graded_study, ())).cells[str(target)]
    assert "Not assessed" in cell
    assert reason.label in cell


def test_the_page_says_what_it_is(drawn, graded_study):
    """Notice, models, study and every series with its reason are on the page."""
    text, _ = drawn
    assert NOTICE in text
    assert "default 0.1.0" in text
    assert graded_study.report.study_instance_uid in text
    for decision in graded_study.routed.decisions:
        assert decision.series_instance_uid in text
        assert decision.reason in text


def test_the_page_is_printed_with_small_names_of_series(drawn):
    """The rules for paper hold for paper alone, and each stands there once."""
    text, _ = drawn
    screen, paper = text[: text.index("</style>")].split("@media print {")
    for rule in (".uid { font-size: 7.5px; }", ".explained td span.uid { margin-left: .8em; }"):
        assert rule in paper
    assert ".explained summary" in screen
    assert ".explained summary" not in paper


def test_the_page_needs_nothing_from_elsewhere(drawn):
    """No address of another machine, no script: what it shows travels with it."""
    text, outline = drawn
    assert not re.search(r"https?://|<script|@import|url\(", text)
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in outline.images)
    assert all(image["alt"] for image in outline.images)


def test_free_text_of_a_header_cannot_become_markup(make):
    """A series description with angle brackets is shown, not executed."""
    graded_study = make(descriptions={Role.AXIAL_T2: "<script>alert(1)</script>"})
    text = report_page(graded_study, ())
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_summary_names_the_worst_first(graded_study):
    """Severe findings stand before moderate ones, and what is not assessed is counted."""
    text = summary(graded_study.report)
    assert text.index("Severe:") < text.index("Moderate:") < text.index("24 of 25")
    assert "1 not assessed" in text


def test_a_share_is_never_rounded_to_certainty():
    """What is not certain is not shown as 0 % or 100 %."""
    assert [percent(p) for p in (0.0, 0.004, 0.5, 0.996, 1.0)] == [
        "0 %",
        "<1 %",
        "50 %",
        ">99 %",
        "100 %",
    ]


@pytest.fixture
def structured_report():
    """Any DICOM object will do here; the SR itself is tested where it is made."""
    sr = Dataset()
    sr.SOPClassUID, sr.SOPInstanceUID = ComprehensiveSRStorage, "1.2.3.99"
    sr.PatientName = "Mustermann^Erika"
    sr.file_meta = FileMetaDataset()
    sr.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    sr.file_meta.MediaStorageSOPClassUID = ComprehensiveSRStorage
    sr.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    return sr


def test_every_link_of_the_page_leads_to_a_file(graded_study, structured_report, tmp_path):
    """report.json, report.html, report.dcm and the linked slices/*.png are all written."""
    written = write_report(graded_study, structured_report, tmp_path)
    links = Outline(written.page.read_text(encoding="utf-8")).links
    assert len(links) == 24 + 4
    assert {tmp_path / link for link in links} == set(written.images)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "report.dcm",
        "report.html",
        "report.json",
        "slices",
    ]
    assert dcmread(written.structured_report).SOPInstanceUID == "1.2.3.99"


def test_no_name_of_a_person_leaves_with_the_report(graded_study, structured_report, tmp_path):
    """Page, document and file names hold no patient's name even where the SR has one."""
    written = write_report(graded_study, structured_report, tmp_path)
    for file in (written.page, written.document):
        assert "Mustermann" not in file.read_text(encoding="utf-8")
    assert not any("ustermann" in str(path) for path in tmp_path.rglob("*"))


def test_a_picture_of_an_earlier_report_does_not_stay(
    make, graded_study, structured_report, tmp_path
):
    """A target that is no longer graded loses its picture when the report is written again."""
    write_report(make(), structured_report, tmp_path)
    repeated = write_report(graded_study, structured_report, tmp_path)
    assert set((tmp_path / "slices").iterdir()) == set(repeated.images)
    assert not (tmp_path / "slices" / "l1-l2-spinal-canal-stenosis.png").exists()


def test_a_report_without_any_grade_is_a_page_of_reasons(make):
    """A study of which nothing could be graded still has its 25 reasons."""
    nothing = {t: NotAssessed(t, NotAssessedReason.LEVEL_NOT_FOUND) for t in TARGETS}
    outline = Outline(report_page(make(nothing), ()))
    assert len(outline.cells) == 25
    assert all("the disc level was not found" in cell for cell in outline.cells.values())


def test_a_repair_made_in_every_series_is_listed_once():
    """Repairs of one kind are one line with their images added up and their details joined."""
    kind = RepairKind.TYPE_2
    made = [Repair(kind, "1.1", 18, "PatientSex, StudyID"), Repair(kind, "1.2", 42, "StudyID")]
    summaries = summarise_repairs([*made, Repair(RepairKind.UNREADABLE, None, 2)])
    assert [(s.images, s.series, s.details) for s in summaries] == [
        (60, 2, "PatientSex, StudyID"),
        (2, 0, ""),
    ]


@pytest.mark.parametrize(
    "reason",
    ["the pixels fit another orientation than the headers say", "another echo: TE 12 ms"],
)
def test_what_was_left_out_has_its_own_reason(reason):
    """The text of the kind is true for every reason: plane, orientation, contrast or repetition."""
    (one,) = summarise_repairs([Repair(RepairKind.PART, "1.2.3", 40, reason)])
    assert one.repair == "images of a series that were left out"
    assert one.details == reason


def test_every_kind_of_repair_has_a_text():
    """No kind of repair is missing from the texts."""
    summaries = summarise_repairs(Repair(kind, "1.1", 1) for kind in RepairKind)
    assert len({s.repair for s in summaries}) == len(RepairKind)


def test_the_evidence_is_folded_into_the_table_of_series(graded_study):
    """Each series with evidence has it behind one closed summary, escaped; others have none."""
    text = report_page(graded_study, [])
    assert text.count("<details><summary>Evidence</summary>") == 3
    assert "echo_and_repetition: <b>T2</b>, by &lt;TE&gt; 100 ms" in text
    assert "<details open" not in text
