"""The table of a comparison for the terminal."""

from __future__ import annotations

from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dicom_sr.findings import Condition, Severity, Target
from worker.evaluation.compare import Comparison, PointCheck, TargetComparison

PLACES: Final = {
    Condition.SPINAL_CANAL_STENOSIS: "canal",
    Condition.NEURAL_FORAMINAL_NARROWING: "foramen",
    Condition.SUBARTICULAR_STENOSIS: "subarticular",
}


def comparison_table(comparison: Comparison) -> RenderableType:
    """One row per target, then the point checks, then the problems."""
    table = Table(box=box.HORIZONTALS, padding=(0, 1, 0, 0))
    table.add_column("Target", no_wrap=True)
    for name in ("Truth", "Report"):
        table.add_column(name)
    for name in ("mm in\nplane", "mm\nacross", "slices\nacross", "side"):
        table.add_column(name, justify="right")
    previous = comparison.targets[0].target.condition
    for compared in comparison.targets:
        if compared.target.condition is not previous:
            table.add_section()
        previous = compared.target.condition
        table.add_row(*_row(compared))
    agreed = [c.correct for c in comparison.targets if c.correct is not None]
    labelled = sum(c.truth is not None for c in comparison.targets)
    lines = [
        Text(
            f"grades: {sum(agreed)} of {len(agreed)} equal (others marked *), {labelled} labelled"
        ),
        *(_point_check(check) for check in comparison.point_checks),
        *(Text(problem, style="yellow") for problem in comparison.problems),
    ]
    return Group(Text(f"Study {comparison.study_id}", style="bold"), table, *lines)


def _row(compared: TargetComparison) -> tuple[str | Text, ...]:
    if compared.reported is None:
        reported = Text(f"not assessed: {compared.reason}", style="dim")
    else:
        differs = compared.correct is False
        reported = Text(
            compared.reported.label + (" *" if differs else ""), style="red" if differs else ""
        )
    head = (_name(compared.target), _severity(compared.truth), reported)
    distance = compared.distance
    if distance is None:
        return (*head, "", "", "", "")
    side = {True: Text("ok"), False: Text("WRONG", style="bold red"), None: Text("")}
    return (
        *head,
        f"{distance.in_plane_mm:.1f}",
        f"{distance.through_plane_mm:.1f}",
        "" if distance.slices_apart is None else str(distance.slices_apart),
        side[distance.on_its_side],
    )


def _name(target: Target) -> str:
    return " ".join(filter(None, (target.level, target.side, PLACES[target.condition])))


def _severity(severity: Severity | None) -> str:
    return "" if severity is None else severity.label


def _point_check(check: PointCheck) -> Text:
    status, style = {True: ("met", "green"), False: ("missed", "bold red"), None: ("-", "dim")}[
        check.passed
    ]
    return Text.assemble((f"{status:7}", style), f"{check.name}: {check.value}")
