"""Results change only together with a version that is part of a report's identity."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tests import golden
from worker.models.bundle import Bundle

RAISE = (
    "the findings changed and no version was raised: raise PIPELINE_VERSION (worker/__init__.py) "
    "or the version of the approach, localiser or grader, then run `python -m tests.golden`"
)


def test_the_stored_findings_are_of_these_versions(bundle: Bundle) -> None:
    """After a version was raised the file must be written again."""
    assert golden.stored()["versions"] == golden.versions(bundle), "run `python -m tests.golden`"


@pytest.mark.slow
@pytest.mark.parametrize("name", list(golden.PHANTOMS))
def test_findings_of_phantoms_are_those_that_were_stored(name: str, bundle: Bundle) -> None:
    """Grades and reasons equal, points within 0.1 px, probabilities within 1e-4."""
    old = golden.stored()["studies"][name]
    assert not golden.differences(old, golden.phantom_findings(name, bundle)), RAISE


@pytest.mark.slow
@pytest.mark.parametrize("name", golden.REAL)
def test_findings_of_real_studies_are_those_that_were_stored(
    name: str, bundle: Bundle, real_data: Path
) -> None:
    """The same for the two real studies."""
    old = golden.stored()["studies"][name]
    assert not golden.differences(old, golden.study_findings(real_data / name, bundle)), RAISE


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("severity", "another"),
        ("probabilities", [0.9, 0.05, 0.05]),
        ("confidence", 0.123),
        ("point", [1.0, 2.0]),
        ("shown_on", ["sagittal_t2", 99, None]),
        ("graded_on", ["axial_t2", 99, None]),
    ],
)
def test_every_part_of_a_finding_is_compared(key: str, change: object) -> None:
    """A change of any part of one finding is seen, and of nothing else."""
    old = golden.stored()["studies"]["phantom 7"]
    new = copy.deepcopy(old)
    target = next(name for name, finding in new.items() if "severity" in finding)
    assert golden.differences(old, new) == []
    new[target][key] = change
    (line,) = golden.differences(old, new)
    assert line.startswith(target)
    assert golden.differences(old, {**old, target: {"reason": "uncertain"}})


def test_changed_findings_replace_stored_ones_only_under_a_raised_version() -> None:
    """And only when the real studies were graded with that version too."""
    old = golden.stored()
    new = copy.deepcopy(old)
    assert golden.refusal(old, new, real=False) is None
    findings = new["studies"]["phantom 7"]
    findings[next(iter(findings))] = {"reason": "uncertain"}
    assert "no version was raised" in str(golden.refusal(old, new, real=True))
    new["versions"]["pipeline"] += 1
    assert "name the folder" in str(golden.refusal(old, new, real=False))
    assert golden.refusal(old, new, real=True) is None
