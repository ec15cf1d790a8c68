"""Lesions as the user names them."""

import pytest

from dicom_sr.findings import TARGETS, Severity
from worker.errors import BadSettings
from worker.phantom import parse_lesion


@pytest.mark.parametrize("severity", Severity)
def test_every_target_can_be_named(severity):
    """`str(target)=severity` is read back for all 25 targets, by value and by word."""
    for target in TARGETS:
        assert parse_lesion(f"{target}={severity}") == (target, severity)
        assert parse_lesion(f" {target} = {severity.label} ") == (target, severity)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("L4/L5 left subarticular stenosis", "=severe"),
        ("L4/L5 left subarticular stenosis=awful", "=severe"),
        ("L4/L5 subarticular stenosis=severe", "left|right"),
        ("L5/L6 spinal canal stenosis=severe", "L1/L2"),
        ("", "LEVEL"),
    ],
)
def test_a_wrong_lesion_is_told_what_to_write(text, hint):
    """The error shows how a lesion is written."""
    with pytest.raises(BadSettings) as caught:
        parse_lesion(text)
    assert hint.lower() in str(caught.value).lower()
