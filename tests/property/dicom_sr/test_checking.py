"""`check` has nothing to say about what is written, and survives whatever it is given."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import DataElement, Dataset, config, dcmread, dcmwrite
from pydicom.sequence import Sequence

from dicom_sr.attributes import UNREADABLE
from dicom_sr.checking import Problem, check
from dicom_sr.findings import (
    TARGETS,
    BundleIdentity,
    Graded,
    ImagePoint,
    ImageReference,
    NotAssessed,
    NotAssessedReason,
    Probabilities,
    Report,
)
from dicom_sr.outline import outline
from dicom_sr.writer import write
from tests.support.report_strategies import NAMES, Written, image, many, written

pytestmark = pytest.mark.slow


pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom warns of each value that is broken

junk = st.sampled_from(
    [
        ("LO", ""),
        ("LO", "Привет"),
        ("UI", "1..2"),
        ("CS", "ISO_IR 999"),
        ("DS", "1e999"),
        ("IS", "-3"),
        ("FL", [float("nan"), -1.0, float("inf")]),
        ("US", 7),
        ("OB", b"\xff\xfe\0"),
        ("SQ", []),
        ("SQ", [Dataset()]),
        ("UN", None),
    ]
)


@cache
def good() -> tuple[bytes, tuple[Dataset, ...]]:
    """The file of an SR with three graded targets, and its images, one of them multi-frame."""
    classic, enhanced = (
        image("1.2.3", n, 1, frames, (99, 50)) for n, frames in ((1, None), (2, 9))
    )
    for header in (classic, enhanced):
        header.SpecificCharacterSet, header.PatientName = "ISO_IR 100", NAMES["ISO_IR 100"]
    shown, graded_on = (
        ImageReference("1.2.3.1", "1.2.3.1.1"),
        ImageReference("1.2.3.2", "1.2.3.2.1", 7),
    )
    findings = [
        Graded(target, Probabilities(0.2, 0.3, 0.5), 0.4, ImagePoint(shown, 10, 20), graded_on)
        if target.level == "L4/L5" and target.side != "left"
        else NotAssessed(target, NotAssessedReason.UNCERTAIN)
        for target in TARGETS
    ]
    report = Report("1.2.3", BundleIdentity("b", "1", "ab", "2.25.1"), tuple(findings))
    sr = write(
        report, [classic, enhanced], software_version="1", pipeline_version=1, fingerprint="f"
    )
    file = BytesIO()
    dcmwrite(file, sr, enforce_file_format=True)
    return file.getvalue(), (classic, enhanced)


def datasets(dataset: Dataset) -> Iterator[Dataset]:
    """The dataset and every item of every sequence in it."""
    yield dataset
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from datasets(item)


def look(sr: Dataset, headers: list[Dataset]) -> tuple[Problem, ...]:
    """Everything that must not raise."""
    assert all(isinstance(line, str) for line in outline(sr))
    return check(sr, headers)


@many
@given(written())
def test_nothing_that_is_written_has_a_problem(case: Written) -> None:
    """The shapes that break OHIF cannot be produced, nor any other that a rule knows."""
    assert check(case.sr, case.headers) == ()


@many
@given(st.data())
def test_a_broken_element_is_told_or_not_but_never_raises(data: st.DataObject) -> None:
    """Elements are deleted, replaced, repeated and moved anywhere in an SR and its images."""
    content, images = good()
    sr, headers = dcmread(BytesIO(content)), [deepcopy(header) for header in images]
    for _ in range(data.draw(st.integers(1, 8))):
        places = [place for whole in (sr, headers[0]) for place in datasets(whole) if len(place)]
        broken = data.draw(st.sampled_from(places))
        tag = data.draw(st.sampled_from(sorted(broken.keys())))
        repeated = broken[tag].value
        match data.draw(st.sampled_from(["delete", "replace", "repeat", "move"])):
            case "delete":
                del broken[tag]
            case "replace":
                vr, value = data.draw(junk)
                other = Sequence(deepcopy(value)) if vr == "SQ" else value
                broken[tag] = DataElement(tag, vr, other, validation_mode=config.IGNORE)
            case "repeat" if isinstance(repeated, Sequence):
                broken[tag].value = Sequence([*repeated, *deepcopy(repeated)])
            case "move":
                data.draw(st.sampled_from(places))[tag] = deepcopy(broken[tag])
    for problem in look(sr, headers):
        assert problem.severity in ("error", "warning")
        assert "Müller" not in f"{problem.where} {problem.what}"


@many
@given(st.data())
def test_broken_bytes_never_raise(data: st.DataObject) -> None:
    """Where bytes are overwritten or end, what pydicom still opens it chokes on only later."""
    original, images = good()
    content = bytearray(original)
    for _ in range(data.draw(st.integers(1, 30))):
        content[data.draw(st.integers(300, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.sampled_from([len(content), len(content) // 2]))
    try:
        sr = dcmread(BytesIO(bytes(content[:end])))
    except UNREADABLE:
        return
    look(sr, list(images))


def test_a_tree_as_deep_as_it_likes_never_raises() -> None:
    """A content tree deeper than Python's stack is walked all the same."""
    sr = item = Dataset()
    sr.Modality = "SR"
    for _ in range(3000):
        below = Dataset()
        item.ContentSequence = [below]
        item = below
    assert look(sr, [])
