"""Target sets: a report names its set, and reports of every known set are read."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
from pydicom import Dataset

from dicom_sr.checking import check
from dicom_sr.errors import ReportError
from dicom_sr.findings import (
    CURRENT_TARGET_SET,
    TARGET_SETS,
    TARGETS,
    Condition,
    Level,
    NotAssessed,
    NotAssessedReason,
    Report,
    Side,
    Target,
)
from dicom_sr.reader import read
from dicom_sr.writer import write

LARGER = "larger/1"


def name_of_set(sr: Dataset) -> Dataset:
    """The content item that names the target set."""
    (item,) = (
        i for i in sr.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "TARGET_SET"
    )
    return item


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target that is only in a second set, which is registered for the test."""
    monkeypatch.setattr(Condition, "sides", property(lambda _: (None, Side.LEFT, Side.RIGHT)))
    target = Target(Condition.SPINAL_CANAL_STENOSIS, Level.L4_L5, Side.LEFT)
    monkeypatch.setitem(TARGET_SETS, LARGER, (target, *TARGETS))
    return target


def test_the_first_set_has_the_targets_of_the_challenge() -> None:
    """`rsna-2024/1` never changes: 25 targets in the order in which stored reports list them."""
    targets = TARGET_SETS["rsna-2024/1"]
    assert [str(t) for t in targets[::5]] == [
        "L1/L2 spinal canal stenosis",
        "L1/L2 left neural foraminal narrowing",
        "L1/L2 right neural foraminal narrowing",
        "L1/L2 left subarticular stenosis",
        "L1/L2 right subarticular stenosis",
    ]
    assert [t.level for t in targets] == list(Level)[:5] * 5
    assert TARGETS is TARGET_SETS[CURRENT_TARGET_SET]


def test_a_report_of_a_new_set_comes_back(
    one_more: Target,
    report: Report,
    sources: list[Dataset],
    through_bytes: Callable[[Dataset], Dataset],
) -> None:
    """A report of a second, larger set is written, accepted and read back equal, in its order."""
    added = NotAssessed(one_more, NotAssessedReason.UNCERTAIN)
    larger = replace(report, findings=(*report.findings, added), target_set=LARGER)
    assert larger.findings[0] is larger[one_more] is added
    sr = through_bytes(
        write(larger, sources, software_version="1", pipeline_version=1, fingerprint="f")
    )
    assert name_of_set(sr).TextValue == LARGER
    assert read(sr) == larger
    assert check(sr, sources) == ()
    assert not larger.agrees_with(report)


@pytest.mark.usefixtures("one_more")
def test_a_report_of_an_earlier_set_stays_readable(report: Report, written: Dataset) -> None:
    """With a larger set registered, reports of the first set read back equal."""
    assert read(written) == report


@pytest.mark.usefixtures("one_more")
def test_a_report_without_a_set_has_the_first_one(report: Report, written: Dataset) -> None:
    """Reports that were written before sets had names are read, and accepted by the checks."""
    old = deepcopy(written)
    old.ContentSequence.remove(name_of_set(old))
    assert read(old) == replace(report, target_set="rsna-2024/1")
    assert check(old) == ()


def test_an_unknown_set_is_refused_with_the_known_ones(report: Report, written: Dataset) -> None:
    """The message lists the known sets, for a report and for an SR."""
    with pytest.raises(ValueError, match=r"unknown target set 'future/7'; known: rsna-2024/1"):
        replace(report, target_set="future/7")
    name_of_set(written).TextValue = "future/7"
    with pytest.raises(ReportError, match=r"unknown target set 'future/7'; known: rsna-2024/1"):
        read(written)
    (problem,) = check(written)
    assert "unknown target set 'future/7'" in problem.what


def test_a_report_holds_the_targets_of_its_own_set(one_more: Target, report: Report) -> None:
    """A target that is missing from a set's report, or foreign to it, is refused."""
    with pytest.raises(ValueError, match="each of the 26 targets of larger/1 exactly once"):
        replace(report, target_set=LARGER)
    added = NotAssessed(one_more, NotAssessedReason.UNCERTAIN)
    with pytest.raises(ValueError, match="each of the 25 targets of rsna-2024/1 exactly once"):
        replace(report, findings=(*report.findings, added))


def test_two_names_of_a_set_are_refused(written: Dataset) -> None:
    """A report belongs to one set."""
    written.ContentSequence.append(deepcopy(name_of_set(written)))
    with pytest.raises(ReportError, match="expected one TEXT 'Target set', found 2"):
        read(written)
