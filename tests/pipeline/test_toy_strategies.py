"""A new approach, localiser or grader is one file and one line: every command then runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import toy_package
from worker.phantom import SMALL, make_phantom, write_phantom

Lumbar = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def lumbar(tmp_path_factory: pytest.TempPathFactory) -> Lumbar:
    """Run the command where the toy package is installed, or where it is not."""
    variables = toy_package.install(tmp_path_factory.mktemp("package"))

    def run(*arguments: object, installed: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **(variables if installed else {})}
        command = [sys.executable, "-m", "worker.cli", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run


@pytest.fixture(scope="module")
def challenge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One phantom in the layout of the RSNA 2024 challenge."""
    folder = tmp_path_factory.mktemp("challenge")
    write_phantom(make_phantom(12, slices=SMALL), folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(toy_package.COMBINATIONS))
def test_grade_and_evaluate_run_a_strategy_of_another_package(
    lumbar: Lumbar, challenge: Path, tmp_path: Path, kind: str
) -> None:
    """The report names the toy bundle, holds its probabilities, and the evaluation counts it."""
    bundle = toy_package.write_bundle(kind, tmp_path / "bundle")
    (study,) = (challenge / "train_images").iterdir()
    graded = lumbar("grade", study, "--bundle", bundle, "--json", "--out", tmp_path / "report")
    assert graded.returncode == 0, graded.stderr
    report = json.loads(graded.stdout)
    assert report["bundle"]["name"] == f"toy {kind}"
    found = [finding for finding in report["findings"] if finding["status"] == "graded"]
    assert found
    if kind != "localiser":
        assert {finding["probabilities"]["severe"] for finding in found} == {0.7}
    if kind != "grader":
        assert {finding["confidence"] <= 0.5 for finding in found} == {True}
    assert (tmp_path / "report" / "report.dcm").is_file()

    out = tmp_path / "evaluation"
    evaluated = lumbar("evaluate", "rsna", challenge, "--bundle", bundle, "--out", out)
    assert evaluated.returncode == 0, evaluated.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["bundle"]["name"] == f"toy {kind}"
    assert (out / "predictions.csv").read_text().count("\n") > 25


@pytest.mark.parametrize("kind", list(toy_package.COMBINATIONS))
def test_without_the_package_its_name_is_unknown(lumbar: Lumbar, tmp_path: Path, kind: str) -> None:
    """One line names the known strategies."""
    bundle = toy_package.write_bundle(kind, tmp_path / "bundle")
    refused = lumbar("models", "--bundle", bundle, installed=False)
    assert refused.returncode == 2
    assert "known are" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_single_pictures_need_a_grader_of_crops(
    lumbar: Lumbar, tmp_path: Path, challenge: Path
) -> None:
    """`evaluate foraminal` says what this bundle has, and what to use instead."""
    bundle = toy_package.write_bundle("approach", tmp_path / "bundle")
    refused = lumbar("evaluate", "foraminal", challenge, "--bundle", bundle)
    assert refused.returncode == 2
    assert "use lumbar evaluate rsna" in refused.stderr
