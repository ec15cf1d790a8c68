"""A graded study in OHIF shows the findings of its report at their points."""

from __future__ import annotations

import os
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from dicom_sr.content import label
from dicom_sr.findings import Condition, Graded, Level, NotAssessedReason, Report, Side, Target
from tests.support.browser_pages import VIEWPORT, Shown, screen, wait_for_label, wait_for_labels
from worker.report.links import viewer_link

NEAR_PX = 2.0
SETTLED_S = 15.0


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of screenshots: LUMBAR_SCREENSHOTS, or one of this run."""
    named = os.environ.get("LUMBAR_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def worst(report: Report, condition: Condition) -> Graded:
    """The initial image of a viewport."""
    findings = [f for f in report.graded if f.target.condition is condition]
    return max(findings, key=lambda f: (f.severity.rank, f.probabilities.severe))


def patient_x(graded, finding) -> float:
    """The position of a sagittal finding's slice, in mm towards the patient's left."""
    return float(graded.headers[finding.point.image.sop_instance_uid].ImagePositionPatient[0])


def check(page: Page, where: str, finding, headers) -> tuple[float, float]:
    """The label stands on the finding's image and its arrow ends on the finding's point.

    On a busy machine the arrow is there a moment before the image has its size.
    """
    point, header = finding.point, headers[finding.point.image.sop_instance_uid]
    image = point.image.sop_instance_uid, point.image.frame or 1
    deadline = time.monotonic() + SETTLED_S
    while True:
        shown = screen(page)[where]
        tip = shown.arrows.get(label(finding), (np.inf, np.inf))
        expected = shown.pixel(point.column, point.row, header.Columns, header.Rows)
        near = np.hypot(*np.subtract(tip, expected)) < NEAR_PX
        if (near and (shown.instance, shown.frame) == image) or time.monotonic() > deadline:
            break
        page.wait_for_timeout(100)
    assert (shown.instance, shown.frame) == image
    assert near, (label(finding), tip, expected)
    return tip


@pytest.fixture
def opened(visit, root, graded):
    """The page of the graded study with its overlays."""
    visit.page.goto(viewer_link(f"{root}/ohif", graded.report.study_instance_uid))
    wait_for_labels(visit.page, len(graded.report.graded))
    for condition, where in VIEWPORT.items():
        check(visit.page, where, worst(graded.report, condition), graded.headers)
    return visit


def test_every_finding_stands_on_its_point(request, opened, graded, pictures):
    """A click in the list shows each finding: its slice, its label, its pixel and its side."""
    page, report = opened.page, graded.report
    page.get_by_text("Confirm and hide").click()
    served_by = request.node.callspec.params["root"]
    page.screenshot(path=pictures / f"{served_by}-opened.png")
    tips = {}
    for finding in report.graded:
        where = VIEWPORT[finding.target.condition]
        page.locator('[data-cy="data-row-title"]', has_text=label(finding)).first.click()
        wait_for_label(page, where, label(finding))
        tips[finding.target] = check(page, where, finding, graded.headers)
        for other in set(VIEWPORT.values()) - {where}:
            assert label(finding) not in screen(page)[other].arrows
    for level in Level:
        recesses = [Target(Condition.SUBARTICULAR_STENOSIS, level, side) for side in Side]
        left, right = (tips[target][0] for target in recesses)
        assert left > right, "on axial images the patient's left is on the right of the screen"
        foramina = [Target(Condition.NEURAL_FORAMINAL_NARROWING, level, side) for side in Side]
        left, right = (patient_x(graded, report[target]) for target in foramina)
        assert left > right, "towards the patient's left x grows"
    page.screenshot(path=pictures / f"{served_by}-last.png")
    assert opened.problems == []


def test_overlays_are_there_without_a_click(opened, graded):
    """Three series side by side, each opened on its worst finding, the worst first in the list."""
    report, shown = graded.report, screen(opened.page)
    assert list(shown) == ["sagittal_t2", "sagittal_t1", "axial_t2"]
    for condition, where in VIEWPORT.items():
        check(opened.page, where, worst(report, condition), graded.headers)
    titles = opened.page.locator('[data-cy="data-row-title"]').all_inner_texts()
    assert set(titles) == {label(finding) for finding in report.graded}
    assert titles[0].endswith("Severe")
    assert opened.problems == []


def test_frames_of_enhanced_objects_are_shown(visit, root, graded_enhanced):
    """A study of three multi-frame objects: each viewport opens on its worst finding's frame."""
    report = graded_enhanced.report
    visit.page.goto(viewer_link(f"{root}/ohif", report.study_instance_uid))
    wait_for_labels(visit.page, len(report.graded))
    for condition, where in VIEWPORT.items():
        check(visit.page, where, worst(report, condition), graded_enhanced.headers)
    assert visit.problems == []


def test_what_is_not_assessed_is_said(visit, root, graded_in_part):
    """A study without axial T2: the page lists the targets without a grade, and why."""
    report = graded_in_part.report
    assert {f.reason for f in report.not_assessed} == {NotAssessedReason.NO_AXIAL_T2}
    visit.page.goto(viewer_link(f"{root}/ohif", report.study_instance_uid))
    told = visit.page.get_by_text(f"no axial T2: {len(report.not_assessed)} targets")
    told.wait_for(timeout=60_000)
    assert visit.problems == []


def test_a_link_opens_on_its_target(visit, root, graded):
    """The URL of one target shows its slice, even if another finding is worse."""
    target = Target(Condition.SUBARTICULAR_STENOSIS, Level.L1_L2, Side.RIGHT)
    finding = graded.report[target]
    url = viewer_link(f"{root}/ohif", graded.report.study_instance_uid, target)
    visit.page.goto(url)
    wait_for_labels(visit.page, len(graded.report.graded))
    wait_for_label(visit.page, "axial_t2", label(finding))
    check(visit.page, "axial_t2", finding, graded.headers)
    assert visit.problems == []


def test_points_cannot_be_dragged(opened, graded):
    """A radiologist's mouse moves no point of the report."""
    before = screen(opened.page)["axial_t2"]
    (text, tip), *_ = before.arrows.items()
    x, y = before.box[0] + tip[0], before.box[1] + tip[1]
    mouse = opened.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 40, y + 40, steps=5)
    mouse.up()
    assert screen(opened.page)["axial_t2"].arrows[text] == pytest.approx(tip, abs=0.1)


def test_the_screen_shows_the_slice_that_the_report_names(opened, graded):
    """The pixels on the screen are those of the named image, neither mirrored nor another's."""
    page = opened.page
    page.evaluate("document.querySelectorAll('.svg-layer').forEach(layer => layer.remove())")
    picture = np.asarray(Image.open(BytesIO(page.screenshot())).convert("L"), float)
    for shown in screen(page).values():
        header = graded.headers[shown.instance]
        seen = resample(picture, shown, header.Columns, header.Rows)
        likeness = {
            uid: correlation(seen, other.pixel_array)
            for uid, other in graded.headers.items()
            if other.SeriesInstanceUID == header.SeriesInstanceUID
        }
        assert max(likeness, key=likeness.get) == shown.instance
        own = header.pixel_array
        assert likeness[shown.instance] > correlation(seen, own[:, ::-1])
        assert likeness[shown.instance] > correlation(seen, own[::-1])


def resample(picture: np.ndarray, shown: Shown, columns: int, rows: int) -> np.ndarray:
    """The part of a screenshot that shows an image, one value for each pixel of the image."""
    column, row = np.meshgrid(np.arange(columns), np.arange(rows))
    x, y = shown.pixel(column, row, columns, rows)
    left, top = shown.box[:2]
    return picture[np.rint(y + top - 0.5).astype(int), np.rint(x + left - 0.5).astype(int)]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
