"""The files of an evaluation: exact columns, every figure, one page that needs nothing else."""

import csv
import json
import re
import sys

import numpy as np
import pytest
from rich.console import Console

from dicom_sr.findings import Condition, Level, Severity, Side
from worker.errors import BadSettings
from worker.evaluation.evaluate import evaluate
from worker.evaluation.evaluation_files import write_evaluation
from worker.evaluation.evaluation_table import evaluation_table
from worker.evaluation.extras import extra
from worker.evaluation.labels import provenance_sentence
from worker.evaluation.metrics_json import as_json
from worker.evaluation.predictions import GradeSheet, Provenance, SagittalWeighting
from worker.evaluation.results import RunInfo, Task
from worker.evaluation.scores import weighted

pytestmark = pytest.mark.slow


RUN = RunInfo("default", "2026.1", "ab" * 32, {"folder": "DATA"})


@pytest.fixture(scope="module")
def evaluations(grades, points):
    """One evaluation of each kind."""
    foramina = grades((Condition.NEURAL_FORAMINAL_NARROWING,), problems=("index.csv, line 3: bad",))
    axial = grades((Condition.SPINAL_CANAL_STENOSIS, Condition.SUBARTICULAR_STENOSIS))
    sheets = {
        Task.FORAMINAL: (foramina, None),
        Task.AXIAL: (axial, None),
        Task.LEVELS: (None, points()),
        Task.RSNA: (grades(), points(weighting=SagittalWeighting.T2)),
    }
    return {task: evaluate(task, *both, resamples=20) for task, both in sheets.items()}


def rows(file):
    """Columns and rows of a table."""
    with file.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        return list(reader), reader.fieldnames


def test_grades_are_written_in_weighted_probabilities(evaluations, tmp_path):
    """Anyone can score predictions.csv: these columns, six decimals, rows that sum to one."""
    evaluation = evaluations[Task.RSNA]
    written = write_evaluation(evaluation, RUN, tmp_path)
    table, columns = rows(written.predictions)
    assert columns == ["file", "condition", "side", "level", "normal_mild", "moderate", "severe"]
    assert len(table) == len(evaluation.grades.rows)
    for row, prediction in zip(table, evaluation.grades.rows, strict=True):
        assert row["file"] == prediction.file
        assert row["condition"] == prediction.target.condition.value
        assert row["side"] == (prediction.target.side or "")
        assert Level(row["level"]) is prediction.target.level
        numbers = [row[name] for name in columns[4:]]
        assert all(re.fullmatch(r"[01]\.\d{6}", number) for number in numbers)
        posterior = np.array([[prediction.posterior.of(severity) for severity in Severity]])
        assert np.allclose([float(n) for n in numbers], weighted(posterior)[0], atol=5.1e-7)
    assert {row["side"] for row in table} == {"", *Side}


def test_only_found_levels_are_written(evaluations, tmp_path):
    """One row for each found level, marked or not, in these columns."""
    evaluation = evaluations[Task.LEVELS]
    table, columns = rows(write_evaluation(evaluation, RUN, tmp_path).predictions)
    assert columns == ["file", "level", "x_fraction", "y_fraction", "confidence"]
    found = [row for row in evaluation.points.rows if row.found is not None]
    assert 0 < len(found) < len(evaluation.points.rows)
    assert [(r["file"], r["level"]) for r in table] == [(r.file, r.level.value) for r in found]
    assert float(table[0]["y_fraction"]) == pytest.approx(found[0].found[1], abs=5.1e-7)


def test_whole_studies_have_a_table_of_each(evaluations, tmp_path):
    """Grades are predictions.csv, points lie beside it."""
    written = write_evaluation(evaluations[Task.RSNA], RUN, tmp_path)
    assert written.points.name == "predictions_levels.csv"
    assert rows(written.points)[1][0] == "file"


@pytest.mark.parametrize("task", Task)
def test_metrics_hold_every_figure_and_their_origin(evaluations, tmp_path, task):
    """metrics.json is strict JSON and says bundle, inputs, provenance, n and intervals."""
    evaluation = evaluations[task]
    written = write_evaluation(evaluation, RUN, tmp_path)
    metrics = json.loads(written.metrics.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert metrics == json.loads(json.dumps(as_json(evaluation, RUN)))
    assert metrics["bundle"] == {"name": "default", "version": "2026.1", "sha256": "ab" * 32}
    assert metrics["inputs"] == {"folder": "DATA"}
    assert metrics["problems"] == list(evaluation.problems)
    for group in evaluation.grade_groups:
        group_json = metrics["grades"][group.condition][group.level or "all"]
        assert group_json["n"] == group.n
        assert set(group_json["figures"]) == set(group.metrics)
        assert set(group_json["figures"]["accuracy"]) == {"value", "low", "high"}
    for group in evaluation.point_groups:
        assert metrics["points"][group.weighting][group.level or "all"]["n"] == group.n


@pytest.mark.parametrize("task", Task)
def test_the_page_needs_nothing_else(evaluations, tmp_path, task):
    """Pictures are within, nothing is loaded from elsewhere, and every section is there."""
    html = write_evaluation(evaluations[task], RUN, tmp_path).page.read_text(encoding="utf-8")
    sources = re.findall(r'src="([^"]*)"', html)
    assert sources
    assert all(source.startswith("data:image/png;base64,iVBOR") for source in sources)
    assert not re.search(r"https?://|<script|<link|url\(", html)
    assert html.count("<section") == html.count("</section>") > 0
    assert "None" not in re.sub(r'src="[^"]*"', "", html)


def test_the_same_evaluation_gives_the_same_page(evaluations, tmp_path):
    """No clock and no version of a library gets into the files."""
    evaluation = evaluations[Task.FORAMINAL]
    first = write_evaluation(evaluation, RUN, tmp_path / "a")
    second = write_evaluation(evaluation, RUN, tmp_path / "b")
    assert first.page.read_bytes() == second.page.read_bytes()


def test_what_comes_from_a_file_name_is_text(evaluations, tmp_path, grades):
    """A problem that quotes a file cannot put an element into the page."""
    sheet = grades((Condition.NEURAL_FORAMINAL_NARROWING,), studies=3, problems=("<b>x</b>",))
    evaluation = evaluate(Task.FORAMINAL, sheet, resamples=5)
    html = write_evaluation(evaluation, RUN, tmp_path).page.read_text(encoding="utf-8")
    assert "<b>x</b>" not in html
    assert "&lt;b&gt;x&lt;/b&gt;" in html


@pytest.mark.parametrize("task", Task)
def test_the_table_fits_a_terminal(evaluations, task):
    """No line is longer than 100 columns, and no number is cut."""
    console = Console(width=100, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(evaluation_table(evaluations[task], RUN))
    text = captured.get()
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for result in as_json(evaluations[task], RUN)["bars"]:
        assert result["what"] in text


@pytest.mark.parametrize("task", [Task.FORAMINAL, Task.LEVELS])
def test_without_labels_there_are_predictions_and_no_figures(tmp_path, task, grades):
    """Nothing labelled, nothing measured: the files are written all the same."""
    blank = GradeSheet((), Provenance(0, 0, 0))
    evaluation = evaluate(task, blank, None, resamples=5)
    written = write_evaluation(evaluation, RUN, tmp_path)
    assert rows(written.predictions)[0] == []
    assert "No row has a label" in written.page.read_text(encoding="utf-8")


def test_the_provenance_is_a_sentence():
    """Counts in words, with a comma at thousands, and nothing about what is not there."""
    assert provenance_sentence(Provenance(1551, 12, 0)) == (
        "1,551 studies of the training data, each predicted only by the networks that were "
        "not trained on it; 12 studies that no network was trained on, predicted by all."
    )
    assert (
        provenance_sentence(Provenance(0, 1, 0))
        == "1 study that no network was trained on, predicted by all."
    )


def test_a_missing_library_is_named(monkeypatch):
    """The message of a missing library names the command that installs it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BadSettings, match=r"matplotlib is missing: pip install .*\[train\]"):
        extra("matplotlib")
