"""A new approach, localiser or grader is one file and one line: every command then runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import toy_package
from worker.cli import main
from worker.phantom import SMALL, make_phantom, write_phantom

Lumbar = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lumbar(capsys: pytest.CaptureFixture[str]) -> Lumbar:
    """Run the command; gives exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy package is installed in this process."""
    toy_package.install(tmp_path / "package")
    monkeypatch.syspath_prepend(str(tmp_path / "package"))


@pytest.fixture(scope="module")
def challenge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One phantom in the layout of the RSNA 2024 challenge."""
    folder = tmp_path_factory.mktemp("challenge")
    write_phantom(make_phantom(12, slices=SMALL), folder)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("kind", list(toy_package.COMBINATIONS))
def test_grade_and_evaluate_run_a_strategy_of_another_package(
    lumbar: Lumbar, challenge: Path, tmp_path: Path, kind: str
) -> None:
    """The report names the toy bundle, holds its probabilities, and the evaluation counts it."""
    bundle = toy_package.write_bundle(kind, tmp_path / "bundle")
    (study,) = (challenge / "train_images").iterdir()
    code, out, err = lumbar(
        "grade", study, "--bundle", bundle, "--json", "--out", tmp_path / "report"
    )
    assert code == 0, err
    report = json.loads(out)
    assert report["bundle"]["name"] == f"toy {kind}"
    found = [finding for finding in report["findings"] if finding["status"] == "graded"]
    assert found
    if kind != "localiser":
        assert {finding["probabilities"]["severe"] for finding in found} == {0.7}
    if kind != "grader":
        assert {finding["confidence"] <= 0.5 for finding in found} == {True}
    assert (tmp_path / "report" / "report.dcm").is_file()

    folder = tmp_path / "evaluation"
    code, _, err = lumbar("evaluate", "rsna", challenge, "--bundle", bundle, "--out", folder)
    assert code == 0, err
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["bundle"]["name"] == f"toy {kind}"
    assert (folder / "predictions.csv").read_text().count("\n") > 25


@pytest.mark.parametrize("kind", list(toy_package.COMBINATIONS))
def test_without_the_package_its_name_is_unknown(lumbar: Lumbar, tmp_path: Path, kind: str) -> None:
    """One line names the known strategies."""
    bundle = toy_package.write_bundle(kind, tmp_path / "bundle")
    code, _, err = lumbar("models", "--bundle", bundle)
    assert code == 2
    assert "known are" in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("installed")
def test_single_pictures_need_a_grader_of_crops(
    lumbar: Lumbar, tmp_path: Path, challenge: Path
) -> None:
    """`evaluate foraminal` says what this bundle has, and what to use instead."""
    bundle = toy_package.write_bundle("approach", tmp_path / "bundle")
    code, _, err = lumbar("evaluate", "foraminal", challenge, "--bundle", bundle)
    assert code == 2
    assert "use lumbar evaluate rsna" in err
