"""`lumbar evaluate`: what it prints and writes, with predictions that are made up."""

import json
import sys
import types

import pytest

from dicom_sr.findings import (
    BundleIdentity,
    Condition,
    Level,
    Probabilities,
    Severity,
    Side,
    Target,
)
from worker import evaluation
from worker.cli import main
from worker.evaluation.predictions import (
    GradePrediction,
    GradeSheet,
    PointPrediction,
    PointSheet,
    Provenance,
    SagittalWeighting,
)

pytestmark = pytest.mark.slow


VERBS = ("foraminal", "axial", "levels", "rsna")
PROBLEMS = tuple(f"index.csv, line {k}: unknown level" for k in range(2, 27))


def grade_sheet(conditions):
    """Every target of six studies, one severity a study."""
    rows = []
    for k in range(6):
        truth = list(Severity)[k % 3]
        posterior = Probabilities(*(0.6 if s is truth else 0.2 for s in Severity))
        for condition in conditions:
            for side in condition.sides:
                for level in Level:
                    target = Target(condition, level, side)
                    rows.append(GradePrediction(f"s{k}", f"s{k}.png", target, posterior, truth))
    return GradeSheet(tuple(rows), Provenance(5, 1, 0, PROBLEMS))


def point_sheet():
    """Every level of six studies, found exactly."""
    rows = [
        PointPrediction(f"s{k}", f"s{k}.png", SagittalWeighting.T1, level, (0.5, y), 0.9, (0.5, y))
        for k in range(6)
        for y, level in zip((0.1, 0.3, 0.5, 0.7, 0.9), Level, strict=True)
    ]
    return PointSheet(tuple(rows), Provenance(6, 0, 0, PROBLEMS))


@pytest.fixture
def lumbar(capsys, monkeypatch, tmp_path):
    """Run `lumbar evaluate VERB` on a folder; gives exit code, stdout and stderr."""
    identity = BundleIdentity("made up", "1", "ab" * 32, "2.25.1")
    runner = types.SimpleNamespace(device="cpu")
    models = types.SimpleNamespace(identity=identity, runner=runner)
    monkeypatch.setattr("worker.approaches.load_bundle", lambda *_: models)
    foramina = (Condition.NEURAL_FORAMINAL_NARROWING,)
    axial = (Condition.SPINAL_CANAL_STENOSIS, Condition.SUBARTICULAR_STENOSIS)

    def reads(sheet):
        def read(folder, bundle, observe):
            observe(1, 1)
            assert folder == tmp_path
            assert bundle is models
            return sheet

        return read

    fake = types.ModuleType("worker.evaluation.sources")
    fake.foraminal = reads(grade_sheet(foramina))
    fake.axial = reads(grade_sheet(axial))
    fake.levels = reads(point_sheet())
    studies = types.ModuleType("worker.evaluation.studies")
    studies.rsna = reads((grade_sheet(Condition), point_sheet()))
    for module in (fake, studies):
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(evaluation, module.__name__.rpartition(".")[2], module, raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments):
        code = main(["evaluate", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_teaches_by_an_example(capsys, verb):
    """Each verb's help holds a line that can be typed as it is."""
    assert main(["evaluate", verb, "--help"]) == 0
    assert f"lumbar evaluate {verb}" in capsys.readouterr().out.partition("Example")[2]


def test_without_a_verb_it_lists_its_verbs(capsys):
    """`lumbar evaluate` alone is a question, not an error."""
    assert main(["evaluate"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert all(verb in captured.out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_metrics_are_printed_and_written(lumbar, tmp_path, verb):
    """The table is printed with its origin, and the files lie where they were asked for."""
    code, out, _ = lumbar(verb, tmp_path, "--out", tmp_path / "out")
    assert code == 0
    assert "not trained on it" in " ".join(out.split())
    assert max(map(len, out.splitlines()[:-4])) <= 100
    for name in ("index.html", "metrics.json", "predictions.csv"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    assert (tmp_path / "out" / "predictions_levels.csv").exists() == (verb == "rsna")


def test_json_is_alone_on_stdout(lumbar, tmp_path):
    """--json prints what metrics.json holds, and nothing else."""
    code, out, _ = lumbar("foraminal", tmp_path, "--out", tmp_path / "out", "--json")
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "out" / "metrics.json").read_text())


def test_bad_rows_are_named_on_stderr_and_kept(lumbar, tmp_path):
    """Twenty with file and line, then how many more; metrics.json keeps them all."""
    code, out, err = lumbar("foraminal", tmp_path, "--json")
    assert code == 0
    assert err.splitlines() == [*PROBLEMS[:20], "and 5 more such rows"]
    assert json.loads(out)["problems"] == list(PROBLEMS)


def test_a_missing_folder_is_one_line(lumbar):
    """A missing folder is reported before any model is loaded."""
    assert lumbar("axial", "/no/such/folder") == (2, "", "lumbar: /no/such/folder does not exist\n")


def test_a_missing_library_is_reported_before_the_computation(lumbar, tmp_path, monkeypatch):
    """The extra's name is in the one line."""
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    code, out, err = lumbar("levels", tmp_path)
    assert (code, out) == (2, "")
    assert "orthanc-lumbar[train]" in err


def test_sides_are_written_as_words(lumbar, tmp_path):
    """left and right are the patient's, and the canal has none."""
    lumbar("axial", tmp_path, "--out", tmp_path / "out")
    lines = (tmp_path / "out" / "predictions.csv").read_text().splitlines()[1:]
    assert {line.split(",")[2] for line in lines} == {"", Side.LEFT.value, Side.RIGHT.value}
