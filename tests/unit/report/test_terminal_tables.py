"""What a person reads in a terminal."""

from rich.console import Console

from worker.domain.study import Role, Routing
from worker.report.terminal_tables import evidence_tree


def test_a_flag_is_not_called_a_conflict():
    """Some flags are doubts or say what was done to a series; each is told as a flag."""
    flag = "weighting recognised from pixels alone"
    decision = Routing("1.2.3", "", Role.SAGITTAL_T2, "sagittal T2", (flag,))
    console = Console(record=True, width=120)
    console.print(evidence_tree([decision]))
    said = console.export_text()
    assert f"flag  {flag}" in said
    assert "conflict" not in said
