"""Production code stays short enough to be read in one go."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [
    file
    for folder in ("worker", "orthanc", "dicom_sr", "deploy")
    for file in (ROOT / folder).rglob("*.py")
]
FILE_LINES, FUNCTION_LINES = 300, 60


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_functions_are_short(file: Path) -> None:
    """At most 300 lines in a file, at most 60 in a function."""
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < FUNCTION_LINES, node.name


def test_the_pipeline_is_a_list_of_steps() -> None:
    """What it does in more lines belongs into one of its steps."""
    text = (ROOT / "worker" / "pipeline.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
