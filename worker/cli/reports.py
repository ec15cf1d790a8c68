"""The verbs about a Structured Report on disk: sr show, sr check."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from worker.cli.shell import AsJson, app, existing, print_json, stderr, stdout
from worker.errors import BrokenStudy, NotLumbar

if TYPE_CHECKING:
    from pydicom import Dataset

    from dicom_sr.findings import Finding

reports = typer.Typer(
    name="sr",
    epilog="Examples:\n\nlumbar sr show REPORT\n\nlumbar sr check REPORT --images STUDY",
    rich_markup_mode="markdown",
)
app.add_typer(reports)

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="The SR, or the folder that holds report.dcm.")
]

_SAID: Final = (
    *("status", "severity", "probabilities", "confidence", "point", "graded_on"),
    *("reason", "reason_code"),
)
_HAS_ERRORS: Final = 2
"""The exit code of a refusal, without a line on stderr: the table has said it all."""


@reports.callback(invoke_without_command=True)
def sr(context: typer.Context) -> None:
    """Look at a Structured Report: what it says, and who would stumble over it."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@reports.command(
    epilog="Examples:\n\n"
    "lumbar sr show REPORT\n\n"
    "lumbar sr show report.dcm --json | jq '.findings[] | select(.severity == \"severe\").point'"
)
def show(file: File, as_json: AsJson = False) -> None:
    """Print the content tree of a lumbar SR and its 5 x 5 table.

    The SR of another system is refused, and so is one that contradicts itself; `lumbar sr
    check` says what is wrong with it.
    """
    dataset = _read(file)
    from dicom_sr.errors import ReportError
    from dicom_sr.lenient import text
    from dicom_sr.outline import outline
    from dicom_sr.reader import is_lumbar_report, read
    from dicom_sr.revisions import predecessors
    from worker.report.terminal_tables import grades_table

    try:
        report = read(dataset)
    except ReportError as error:
        refusal = BrokenStudy if is_lumbar_report(dataset) else NotLumbar
        raise refusal(f"{file}: {error}; `lumbar sr check` says more") from error
    if as_json:
        revised = predecessors(dataset)
        print_json(
            {
                "study_instance_uid": report.study_instance_uid,
                "sop_instance_uid": text(dataset, "SOPInstanceUID"),
                "bundle": dataclasses.asdict(report.bundle),
                "software_version": text(dataset, "SoftwareVersions"),
                "predecessor": revised[0] if revised else None,
                "findings": [_finding(finding) for finding in report.findings],
            }
        )
        return
    for line in outline(dataset):
        typer.echo(line)
    typer.echo()
    stdout().print(grades_table(report))


@reports.command(
    epilog="Examples:\n\n"
    "lumbar sr check REPORT\n\n"
    "lumbar sr check report.dcm --images STUDY    # for a mended study, its mended copy"
)
def check(
    file: File,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder with the study's images: are points, frames and patient theirs?",
        ),
    ] = None,
) -> None:
    """Say what a validator, a viewer or our reader would stumble over in any SR.

    Exit code 2 when there is an error, 0 when there are warnings at most.
    """
    dataset = _read(file)
    headers = [] if images is None else _image_headers(images)
    from rich.table import Table
    from rich.text import Text

    from dicom_sr.checking import check as problems_of

    problems = problems_of(dataset, headers)
    if not problems:
        typer.echo("no problem found")
        return
    styles = {"error": "bold red", "warning": "yellow"}
    table = Table("", "Where")
    table.add_column("What", overflow="fold")
    for problem in problems:
        severity = Text(problem.severity, styles[problem.severity])
        table.add_row(severity, Text(problem.where), Text(problem.what))
    stdout().print(table)
    errors = sum(problem.severity == "error" for problem in problems)
    typer.echo(f"errors: {errors}, warnings: {len(problems) - errors}")
    if errors:
        raise typer.Exit(_HAS_ERRORS)


def _read(file: Path) -> Dataset:
    """The SR in a file; raise BadSettings where there is none, BrokenStudy where it is no DICOM."""
    path = file / "report.dcm" if file.is_dir() else file
    existing(path)
    from worker.domain.study import Unreadable
    from worker.intake.decoding import read_header

    found = read_header(str(path), path)
    if isinstance(found, Unreadable):
        raise BrokenStudy(f"{path} is no DICOM file that can be read ({found.error})")
    return found.header


def _image_headers(folder: Path) -> list[Dataset]:
    """The headers of the images below a folder; raise NotLumbar when there is none."""
    existing(folder)
    from worker.archive.folder import FolderArchive
    from worker.domain.study import Instance

    with stderr().status("reading headers"):
        found = FolderArchive().headers(str(folder))
    headers = [i.header for i in found if isinstance(i, Instance) and "Rows" in i.header]
    if not headers:
        raise NotLumbar(f"{folder} holds no DICOM image; name the folder of the SR's study")
    return headers


def _finding(finding: Finding) -> dict[str, Any]:
    """A finding under the names of report.json, null where it has no value."""
    from dicom_sr.findings import Graded

    said: dict[str, Any] = dict.fromkeys(_SAID)
    if isinstance(finding, Graded):
        point = dataclasses.asdict(finding.point)
        said |= {
            "status": "graded",
            "severity": finding.severity.value,
            "probabilities": dataclasses.asdict(finding.probabilities),
            "confidence": finding.confidence,
            "point": point.pop("image") | point,
            "graded_on": dataclasses.asdict(finding.graded_on),
        }
    else:
        said |= {
            "status": "not_assessed",
            "reason": finding.reason.label,
            "reason_code": finding.reason.value,
        }
    return dataclasses.asdict(finding.target) | said
