"""The subcommands for one study: grade, route, repair, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from worker import MIN_AGE_YEARS
from worker.cli.shell import (
    AsJson,
    BundleFolder,
    Device,
    MinAge,
    SiteRules,
    Study,
    app,
    existing,
    print_json,
    print_path,
    site_rules,
    stderr,
    stdout,
    writable,
)
from worker.errors import BadSettings

if TYPE_CHECKING:
    from worker.archive import Archive
    from worker.domain.study import RoutedStudy


ReportFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Write report.json, report.html, report.dcm and slices/*.png here.",
    ),
]
Viewer = Annotated[
    str | None,
    typer.Option(
        "--viewer",
        metavar="URL",
        envvar="LUMBAR_VIEWER_URL",
        help="Root URL of an OHIF viewer, such as http://127.0.0.1:8042/ohif, for the links in "
        "report.html.",
    ),
]


@app.command(
    epilog="Examples:\n\n"
    "lumbar grade STUDY --out REPORT\n\n"
    "lumbar grade STUDY --json | jq '.findings[] | select(.severity == \"severe\")'"
)
def grade(
    path: Study,
    out: ReportFolder = None,
    as_json: AsJson = False,
    bundle: BundleFolder = None,
    device: Device = "auto",
    rules: SiteRules = None,
    min_age: MinAge = MIN_AGE_YEARS,
    viewer: Viewer = None,
) -> None:
    """Grade one study and print the 5 x 5 table.

    Targets that need a missing series are "not assessed" with a reason; all others are
    graded.
    """
    existing(path)
    if out is not None:
        writable(out)
    site = site_rules(rules)
    with stderr().status("loading the models") as status:
        from worker import pipeline
        from worker.approaches import load_bundle
        from worker.archive.folder import FolderArchive
        from worker.report.report_files import write_report
        from worker.report.report_json import report_document
        from worker.report.structured import structured_report
        from worker.report.terminal_tables import grades_table

        models = load_bundle(bundle, device)
        graded = pipeline.grade(
            str(path),
            FolderArchive(),
            models,
            site=site,
            min_age_years=min_age,
            observe=lambda step: status.update(step),
        )
        status.update("report")
        written = None
        if out is not None:
            written = write_report(graded, structured_report(graded), out, viewer)
    if as_json:
        print_json(report_document(graded))
        return
    stdout().print(grades_table(graded.report))
    if written is not None:
        print_path("page", written.page)
        print_path("document", written.document)
        print_path("SR", written.structured_report)
        print_path("images", written.slices)


@app.command(
    epilog="Examples:\n\n"
    "lumbar route STUDY --explain\n\n"
    "lumbar route STUDY --json | jq '.series[] | .role'\n\n"
    "LUMBAR_ORTHANC_URL=http://pacs:8042 lumbar route --orthanc 1.2.840.1"
)
def route(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[PATH]", help="Folder with one study, searched recursively."),
    ] = None,
    orthanc: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY",
            help="Orthanc ID or Study Instance UID of a study in the Orthanc of LUMBAR_ORTHANC_*, "
            "instead of a folder.",
        ),
    ] = None,
    as_json: AsJson = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the evidence of every rule for every series.")
    ] = False,
    rules: SiteRules = None,
    min_age: MinAge = MIN_AGE_YEARS,
) -> None:
    """Show the role of each series of a study, and the reason.

    Roles are sagittal_t1, sagittal_t2 and axial_t2; every other series has none. Only headers
    are read, and one slice of each sagittal series whose headers do not give its weighting. If
    the headers exclude the study from grading, the reasons are listed first.
    """
    if (path is None) == (orthanc is None):
        raise BadSettings("give one study: either a folder, or --orthanc with its ID")
    if path is not None:
        existing(path)
    from worker.archive.folder import FolderArchive
    from worker.pipeline import route_study
    from worker.report.report_json import exclusions, routings
    from worker.report.terminal_tables import evidence_tree, exclusions_table, series_table

    site = site_rules(rules)

    def routed_of(study: str, archive: Archive) -> RoutedStudy:
        return route_study(study, archive, site=site, min_age_years=min_age)

    with stderr().status("reading headers"):
        if orthanc is not None:
            from worker.service.archives import open_orthanc
            from worker.settings import Settings

            with open_orthanc(Settings.load()) as archive:
                routed = routed_of(archive.study_id(orthanc), archive)
        else:
            routed = routed_of(str(path), FolderArchive())
    decisions = routed.decisions
    if as_json:
        print_json({"exclusions": exclusions(routed.exclusions), "series": routings(decisions)})
        return
    if routed.exclusions:
        stdout().print(exclusions_table(routed.exclusions))
    stdout().print(evidence_tree(decisions) if explain else series_table(decisions))


@app.command(epilog="Example:  lumbar repair EXPORT REPAIRED")
def repair(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder with the study.")],
    destination: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder.")],
) -> None:
    """Write a repaired copy of a study that archives accept, and list the repairs.

    Pixels are not changed. Only values that follow from the rest of the object are added.
    """
    existing(source)
    from worker.intake.repaired_copy import repair_folder
    from worker.report.terminal_tables import repairs_table

    console = stderr()
    # Without a terminal rich would still print an empty line at the end.
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("copying")
        repairs = repair_folder(
            source,
            destination,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    if repairs:
        stdout().print(repairs_table(repairs))
    print_path("repaired" if repairs else "copied", destination)


@app.command(epilog="Example:  lumbar compare REPORT --truth rsna_2024")
def compare(
    report: Annotated[
        Path, typer.Argument(metavar="REPORT", help="A report.json, or a folder with one.")
    ],
    truth: Annotated[
        Path,
        typer.Option(metavar="RSNA_DIR", help="train.csv, train_label_coordinates.csv and images."),
    ],
    as_json: AsJson = False,
) -> None:
    """Compare a report with annotations: the grades, and the points in millimetres."""
    existing(report)
    existing(truth)
    from worker.evaluation.compare import as_json as comparison_json
    from worker.evaluation.compare import compare as compare_report
    from worker.evaluation.compare import read_report
    from worker.evaluation.comparison_table import comparison_table

    with stderr().status("comparing"):
        comparison = compare_report(read_report(report), truth)
    if as_json:
        print_json(comparison_json(comparison))
    else:
        stdout().print(comparison_table(comparison))
