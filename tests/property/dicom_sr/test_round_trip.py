"""What is written is read: over studies and reports of every shape, through a file's bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_sr.findings import ImageReference
from dicom_sr.reader import read
from dicom_sr.revisions import predecessors
from dicom_sr.uids import fingerprint
from tests.support.report_strategies import Written, many, written

pytestmark = pytest.mark.slow


@many
@given(written())
def test_read_is_the_inverse_of_write(case: Written) -> None:
    """A report comes back equal from the bytes of its SR, whatever it says about which study."""
    assert read(case.sr) == case.report


@many
@given(written())
def test_whose_report_it_is_survives(case: Written) -> None:
    """Patient, request and predecessor are kept, in any script."""
    headers = sorted(case.headers, key=lambda h: (h.SeriesInstanceUID, h.SOPInstanceUID))
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber"):
        known = [str(h[keyword].value) for h in headers if h.get(keyword)]
        assert str(case.sr[keyword].value or "") == (known[0] if known else "")
    orders = [h.RequestAttributesSequence[0] for h in headers if h.get("RequestAttributesSequence")]
    asked = [order.RequestedProcedureDescription for order in orders]
    requests = case.sr.get("ReferencedRequestSequence", [])
    assert [r.RequestedProcedureDescription for r in requests] == asked[:1]
    revised = [] if case.predecessor is None else [case.predecessor.SOPInstanceUID]
    assert predecessors(case.sr) == revised


@given(st.lists(st.tuples(st.text("12.", max_size=4), st.text("12.", max_size=4)), max_size=6))
def test_fingerprint_depends_on_the_set_of_images_alone(pairs: list[tuple[str, str]]) -> None:
    """Order and repetition change nothing; another image changes it."""
    images = [ImageReference(*pair) for pair in pairs]
    assert fingerprint(images) == fingerprint(reversed([*images, *images]))
    assert fingerprint(images) != fingerprint([*images, ImageReference("3", "4")])
