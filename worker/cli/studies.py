"""The verbs about one study: grade, route, repair, compare."""

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


@app.command(
    epilog="Examples:\n\n"
    "lumbar grade STUDY --out REPORT\n\n"
    "lumbar grade STUDY --json | jq '.findings[] | select(.severity == \"severe\")'"
)
def grade(
    path: Study,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write report.json, report.html, report.dcm and slices/*.png here."
        ),
    ] = None,
    as_json: AsJson = False,
    bundle: BundleFolder = None,
    device: Device = "auto",
    rules: SiteRules = None,
    min_age: MinAge = MIN_AGE_YEARS,
    viewer: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="LUMBAR_VIEWER_URL",
            help="Root of an OHIF viewer, such as http://127.0.0.1:8042/ohif; report.html links "
            "to it.",
        ),
    ] = None,
) -> None:
    """Grade one study and print the 5 x 5 table.

    Missing series cost their targets, which are then "not assessed" with a reason; the
    rest is graded.
    """
    existing(path)
    if out is not None:
        writable(out)
    site = site_rules(rules)
    with stderr().status("loading the models") as status:
        from worker import pipeline
        from worker.archive.folder import FolderArchive
        from worker.models.loading import load_bundle
        from worker.report.report_json import document
        from worker.report.structured import structured_report
        from worker.report.tables import grades_table
        from worker.report.writing import write_report

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
        print_json(document(graded))
        return
    stdout().print(grades_table(graded.report))
    if written is not None:
        print_path("page", written.page)
        print_path("document", written.document)
        print_path("SR", written.structured_report)
        print_path("pictures", written.slices)


@app.command(
    epilog="Examples:\n\n"
    "lumbar route STUDY --explain\n\n"
    "lumbar route STUDY --json | jq '.series[] | .role'\n\n"
    "LUMBAR_ORTHANC_URL=http://pacs:8042 lumbar route --orthanc 1.2.840.1"
)
def route(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[PATH]", help="Folder with one study, subfolders included."),
    ] = None,
    orthanc: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY",
            help="A study of the Orthanc of LUMBAR_ORTHANC_*, by its id there or its Study "
            "Instance UID, in place of a folder.",
        ),
    ] = None,
    as_json: AsJson = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what every rule said of every series.")
    ] = False,
    rules: SiteRules = None,
    min_age: MinAge = MIN_AGE_YEARS,
) -> None:
    """Say which series of a study take which role, and why.

    Pixels are read of one slice of each sagittal series whose headers do not tell its
    weighting. Roles are sagittal_t1, sagittal_t2 and axial_t2; every other series gets none
    and the reason. Where the headers forbid grading the study, that comes first.
    """
    if (path is None) == (orthanc is None):
        raise BadSettings("name one study: a folder, or --orthanc and its id")
    if path is not None:
        existing(path)
    from worker.archive.folder import FolderArchive
    from worker.intake.exclusions import exclude
    from worker.intake.headers import read_study
    from worker.intake.routing import route as route_study
    from worker.recognise.slice_fetch import MiddleSlice
    from worker.report.report_json import exclusions, routings
    from worker.report.tables import evidence_tree, exclusions_table, series_table

    site = site_rules(rules)

    def routed_of(study: str, archive: Archive) -> RoutedStudy:
        found = read_study(archive.headers(study))
        return exclude(route_study(found, site, MiddleSlice(archive.fetch)), min_age)

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


@app.command(epilog="Example:  lumbar repair EXPORT MENDED")
def repair(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder with the study.")],
    destination: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder.")],
) -> None:
    """Write a copy of a study that archives accept, and say what was mended.

    Pixels stay as they are. Only what the rest of the object proves is filled in.
    """
    existing(source)
    from worker.intake.repaired_copy import repair_folder
    from worker.report.tables import repairs_table

    console = stderr()
    # Without a terminal rich would still end its display with an empty line.
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("copying")
        made = repair_folder(
            source,
            destination,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    if made:
        stdout().print(repairs_table(made))
    print_path("mended" if made else "copied", destination)


@app.command(epilog="Example:  lumbar compare REPORT --truth rsna_2024")
def compare(
    report: Annotated[
        Path, typer.Argument(metavar="REPORT", help="A report.json, or the folder that holds it.")
    ],
    truth: Annotated[
        Path,
        typer.Option(metavar="RSNA_DIR", help="train.csv, train_label_coordinates.csv and images."),
    ],
    as_json: AsJson = False,
) -> None:
    """Compare a report with annotations: grades one by one, points in millimetres."""
    existing(report)
    existing(truth)
    from worker.evaluation import compare as comparing
    from worker.evaluation.comparison_table import comparison_table

    with stderr().status("comparing"):
        comparison = comparing.compare(comparing.read_report(report), truth)
    if as_json:
        print_json(comparing.as_json(comparison))
    else:
        stdout().print(comparison_table(comparison))
