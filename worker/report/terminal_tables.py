"""The same tables in a terminal."""

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
    from worker.models.inspection import Inspected

MAIN_FIGURES: Final = (
    *("weighted_log_loss", "constant_log_loss", "auc_severe", "ece_severe", "accuracy"),
    *("median_error", "right", "study_right"),
)
"""What is shown of a card's figures; the whole of them stands in the card."""

STYLES: Final = {
    Severity.NORMAL_MILD: "cyan",
    Severity.MODERATE: "bold yellow",
    Severity.SEVERE: "bold white on red",
}


def grades_table(report: Report) -> RenderableType:
    """The 5 x 5 table of grades with their confidence, the summary below it."""
    title = Text(f"Study {report.study_instance_uid}", style="bold")
    # Narrow enough for 80 columns: no vertical lines, one word of a heading a line.
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
    """Why nothing of a study is graded; the first reason stands in its report."""
    table = Table("Not graded", "Why")
    for one in exclusions:
        table.add_row(one.reason.label, one.because)
    return table


def series_table(decisions: Iterable[Routing]) -> RenderableType:
    """Which series are used for what, and why."""
    table = Table("Series", "Used as", "Why")
    table.add_column("Series Instance UID", overflow="fold")
    for decision in decisions:
        role = Text("not used", style="dim") if decision.role is None else decision.role.label
        why = "; ".join((decision.reason, *decision.flags))
        description = Text(decision.series_description or "(no description)")
        table.add_row(description, role, Text(why), Text(decision.series_instance_uid, style="dim"))
    return table


def evidence_tree(decisions: Iterable[Routing]) -> RenderableType:
    """What every rule said of every series, the stronger before the weaker."""
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
    """What was mended, on how many images of how many series."""
    table = Table("RepairSummary", "Images", "Series")
    for kind in summarise_repairs(repairs):
        what = Text.assemble(kind.what, *([("\n" + kind.details, "dim")] if kind.details else []))
        table.add_row(what, str(kind.images), str(kind.series or ""))
    return table


def bundle_table(bundle: Inspected) -> RenderableType:
    """The members of a bundle and whether their files are intact, then the card's main figures."""
    networks = Table("File", "Architecture", "Size", "sha256", box=box.HORIZONTALS)
    for network in bundle.networks:
        size = "missing" if network.size is None else f"{network.size / 1e6:.1f} MB"
        intact = Text("as the card", "green") if network.intact else Text("DIFFERS", "bold red")
        networks.add_row(network.file, network.architecture, size, intact)
    measured = Table("Measured on studies kept out of training", "", box=None)
    for part, figures in bundle.figures.items():
        said = [
            f"{name.replace('_', ' ')} {_with_interval(figures[name])}"
            for name in MAIN_FIGURES
            if figures.get(name)
        ]
        measured.add_row(part.replace("_", " "), "\n".join(said))
    identity = bundle.identity
    return Group(
        Text(f"{identity.name} {identity.version}  {bundle.folder}", style="bold"),
        Text(f"sha256 {identity.sha256}\nDevice UID {identity.device_uid}"),
        networks,
        measured,
        Text(bundle.licence or "no licence is named", style="dim"),
    )


def _with_interval(figure: Sequence[float]) -> str:
    """A card's figure: its value, and where there is one its 95 % interval."""
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
