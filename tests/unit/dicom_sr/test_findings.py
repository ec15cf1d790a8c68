"""Findings are canonical by construction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dicom_sr.findings import Probabilities, Report

THIRDS = Probabilities(1 / 3, 1 / 3, 1 / 3)


def test_probabilities_keep_their_precision() -> None:
    """They are only validated; a calibration that uses them loses nothing."""
    assert THIRDS.severe == 1 / 3


def test_a_graded_finding_rounds_its_probabilities(report: Report) -> None:
    """Each has six decimals and they sum to one, so that equality survives a round trip."""
    finding = replace(report.graded[0], probabilities=THIRDS)
    assert finding.probabilities == Probabilities(0.333334, 0.333333, 0.333333)
    assert finding.probabilities.rounded() == finding.probabilities


@pytest.mark.parametrize("values", [(0.5, 0.5, 0.5), (-0.1, 0.6, 0.5), (float("nan"), 0.5, 0.5)])
def test_what_is_no_probability_is_refused(values: tuple[float, float, float]) -> None:
    """A sum other than one, a value outside of 0..1 or NaN."""
    with pytest.raises(ValueError, match="probabilities must"):
        Probabilities(*values)
