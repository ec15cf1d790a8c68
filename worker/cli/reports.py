"""The subcommands for a Structured Report on disk: sr show, sr check."""

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

File = Annotated[Path, typer.Argument(metavar="FILE", help="The SR, or a folder with report.dcm.")]

_FINDING_KEYS: Final = (
    *("status", "severity", "probabilities", "confidence", "point", "graded_on"),
    *("reason", "reason_code"),
)
_EXIT_ERRORS: Final = 2
"""Exit code if the report has errors; the table lists them, so stderr stays empty."""


@reports.callback(invoke_without_command=True)
def sr(context: typer.Context) -> None:
    """Show or check a Structured Report."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@reports.command(
    epilog="Examples:\n\n"
    "lumbar sr show REPORT\n\n"
    "lumbar sr show report.dcm --json | jq '.findings[] | select(.severity == \"severe\").point'"
)
def show(file: File, as_json: AsJson = False) -> None:
    """Print the content tree of a lumbar SR and its 5 x 5 table.

    An SR of another system or an inconsistent one is an error; `lumbar sr check` lists the
    problems.
    """
    dataset = _read(file)
    from dicom_sr.attributes import text
    from dicom_sr.errors import ReportError
    from dicom_sr.outline import outline
    from dicom_sr.reader import is_lumbar_report, read
    from dicom_sr.revisions import predecessors
    from worker.report.terminal_tables import grades_table

    try:
        report = read(dataset)
    except ReportError as error:
        refusal = BrokenStudy if is_lumbar_report(dataset) else NotLumbar
        raise refusal(f"{file}: {error}; `lumbar sr check` lists the problems") from error
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
    "lumbar sr check report.dcm --images STUDY    # for a repaired study, its repaired copy"
)
def check(
    file: File,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder with the study's images; also compare points, frames and patient.",
        ),
    ] = None,
) -> None:
    """List the problems of any SR for validators, viewers and the lumbar reader.

    The exit code is 2 if there are errors, 0 if there are at most warnings.
    """
    dataset = _read(file)
    headers = [] if images is None else _image_headers(images)
    from rich.table import Table
    from rich.text import Text

    from dicom_sr.checking import check as find_problems

    problems = find_problems(dataset, headers)
    if not problems:
        typer.echo("no problem found")
        return
    styles = {"error": "bold red", "warning": "yellow"}
    table = Table("", "Location")
    table.add_column("Problem", overflow="fold")
    for problem in problems:
        severity = Text(problem.severity, styles[problem.severity])
        table.add_row(severity, Text(problem.where), Text(problem.what))
    stdout().print(table)
    errors = sum(problem.severity == "error" for problem in problems)
    typer.echo(f"errors: {errors}, warnings: {len(problems) - errors}")
    if errors:
        raise typer.Exit(_EXIT_ERRORS)


def _read(file: Path) -> Dataset:
    """The SR in a file; raise BadSettings without a file, BrokenStudy if it is not DICOM."""
    path = file / "report.dcm" if file.is_dir() else file
    existing(path)
    from worker.domain.study import Unreadable
    from worker.intake.decoding import read_header

    found = read_header(str(path), path)
    if isinstance(found, Unreadable):
        raise BrokenStudy(f"{path} is not a readable DICOM file ({found.error})")
    return found.header


def _image_headers(folder: Path) -> list[Dataset]:
    """The headers of the images in a folder; raise NotLumbar if there are none."""
    existing(folder)
    from worker.archive.folder import FolderArchive
    from worker.domain.study import Instance

    with stderr().status("reading headers"):
        found = FolderArchive().headers(str(folder))
    headers = [i.header for i in found if isinstance(i, Instance) and "Rows" in i.header]
    if not headers:
        raise NotLumbar(f"no DICOM image in {folder}; give the folder of the SR's study")
    return headers


def _finding(finding: Finding) -> dict[str, Any]:
    """A finding with the keys of report.json, null without a value."""
    from dicom_sr.findings import Graded

    content: dict[str, Any] = dict.fromkeys(_FINDING_KEYS)
    if isinstance(finding, Graded):
        point = dataclasses.asdict(finding.point)
        content |= {
            "status": "graded",
            "severity": finding.severity.value,
            "probabilities": dataclasses.asdict(finding.probabilities),
            "confidence": finding.confidence,
            "point": point.pop("image") | point,
            "graded_on": dataclasses.asdict(finding.graded_on),
        }
    else:
        content |= {
            "status": "not_assessed",
            "reason": finding.reason.label,
            "reason_code": finding.reason.value,
        }
    return dataclasses.asdict(finding.target) | content
