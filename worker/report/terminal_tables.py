"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from dicom_sr.content import NOTICE
from dicom_sr.findings import Finding, Graded, Level, Report, Severity, Target
from worker.domain.study import Exclusion, Repair, Routing
from worker.report.text import COLUMNS, percent, summarise_repairs, summary

if TYPE_CHECKING:
    from worker.models.inspection import InspectedBundle

MAIN_FIGURES: Final = (
    *("weighted_log_loss", "constant_log_loss", "auc_severe", "ece_severe", "accuracy"),
    *("median_error", "right", "study_right"),
)
"""The figures of a card that the table shows; the card holds all of them."""

STYLES: Final = {
    Severity.NORMAL_MILD: "cyan",
    Severity.MODERATE: "bold yellow",
    Severity.SEVERE: "bold white on red",
}


def grades_table(report: Report) -> RenderableType:
    """The 5 x 5 table of grades and confidences, with the summary below it."""
    title = Text(f"Study {report.study_instance_uid}", style="bold")
    # To fit 80 columns: no vertical lines, one word per line in headings.
    table = Table(box=box.HORIZONTALS, show_lines=True, padding=(0, 1, 0, 0))
    table.add_column("Level", no_wrap=True)
    for name, _, _ in COLUMNS:
        table.add_column(name.replace(" ", "\n"), min_width=11)
    for level in Level:
        cells = (_cell(report[Target(condition, level, side)]) for _, condition, side in COLUMNS)
        table.add_row(level.value, *cells)
    bundle = f"Models {report.bundle.name} {report.bundle.version}. {NOTICE}."
    return Group(title, table, Text(summary(report)), Text(bundle, style="dim"))


def exclusions_table(exclusions: Iterable[Exclusion]) -> RenderableType:
    """Why a study is not graded; its report states the first reason."""
    table = Table("Not graded", "Reason")
    for one in exclusions:
        table.add_row(one.reason.label, one.because)
    return table


def series_table(decisions: Iterable[Routing]) -> RenderableType:
    """The role of each series and the reason."""
    table = Table("Series", "Role", "Reason")
    table.add_column("Series Instance UID", overflow="fold")
    for decision in decisions:
        role = Text("not used", style="dim") if decision.role is None else decision.role.label
        reason = "; ".join((decision.reason, *decision.flags))
        description = Text(decision.series_description or "(no description)")
        table.add_row(
            description, role, Text(reason), Text(decision.series_instance_uid, style="dim")
        )
    return table


def evidence_tree(decisions: Iterable[Routing]) -> RenderableType:
    """The evidence of every rule for every series, the stronger rules first."""
    tree = Tree("Series", hide_root=True)
    for decision in decisions:
        role = "not used" if decision.role is None else decision.role.label
        title = Text.assemble(
            (decision.series_description or "(no description)", "bold"),
            f"  {role}  ",
            (decision.series_instance_uid, "dim"),
        )
        branch = tree.add(Text.assemble(title, "\n", decision.reason))
        for flag in decision.flags:
            branch.add(Text.assemble(("flag  ", "yellow"), flag))
        for one in decision.evidence:
            branch.add(
                Text.assemble((f"{one.rule}  ", "dim"), (one.says, "bold"), f"  {one.because}")
            )
    return tree


def repairs_table(repairs: Iterable[Repair]) -> RenderableType:
    """The repairs, with the number of images and series."""
    table = Table("Repair", "Images", "Series")
    for one in summarise_repairs(repairs):
        details = [("\n" + one.details, "dim")] if one.details else []
        table.add_row(Text.assemble(one.repair, *details), str(one.images), str(one.series or ""))
    return table


def bundle_table(bundle: InspectedBundle) -> RenderableType:
    """The networks of a bundle, the state of their files, and the card's main figures."""
    networks = Table("File", "Architecture", "Size", "sha256", box=box.HORIZONTALS)
    for network in bundle.networks:
        size = "missing" if network.size is None else f"{network.size / 1e6:.1f} MB"
        intact = Text("intact", "green") if network.intact else Text("DIFFERS", "bold red")
        networks.add_row(network.file, network.architecture, size, intact)
    measured = Table("Measured on held-out studies", "", box=None)
    for part, figures in bundle.card.figures.items():
        lines = [
            f"{name.replace('_', ' ')} {_with_interval(figures[name])}"
            for name in MAIN_FIGURES
            if figures.get(name)
        ]
        measured.add_row(part.replace("_", " "), "\n".join(lines))
    identity = bundle.identity
    return Group(
        Text(f"{identity.name} {identity.version}  {bundle.folder}", style="bold"),
        Text(f"sha256 {identity.sha256}\nDevice UID {identity.device_uid}"),
        networks,
        measured,
        Text(bundle.card.licence or "no licence given", style="dim"),
    )


def _with_interval(figure: Sequence[float]) -> str:
    """A card's figure: the value, and the 95 % interval if there is one."""
    value, *interval = (f"{number:.3g}" for number in figure)
    return f"{value} ({' to '.join(interval)})" if interval else value


def _cell(finding: Finding) -> Text:
    if not isinstance(finding, Graded):
        return Text.assemble(("not assessed", "dim"), "\n", (finding.reason.label, "dim"))
    return Text.assemble(
        (finding.severity.label, STYLES[finding.severity]),
        "\n",
        (f"conf. {percent(finding.confidence)}", "dim"),
    )
