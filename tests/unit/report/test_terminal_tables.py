"""What a person reads in a terminal."""

from rich.console import Console

from worker.domain.study import Role, Routing
from worker.report.terminal_tables import evidence_tree


def test_a_flag_is_not_called_a_conflict():
    """Every kind of flag is printed as a flag."""
    flag = "weighting recognised from pixels alone"
    decision = Routing("1.2.3", "", Role.SAGITTAL_T2, "sagittal T2", (flag,))
    console = Console(record=True, width=120)
    console.print(evidence_tree([decision]))
    output = console.export_text()
    assert f"flag  {flag}" in output
    assert "conflict" not in output
