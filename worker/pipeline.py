"""The whole way of a study on one page: headers in, findings out.

Without network and queue: an `Archive` brings the headers and the pixels. Without model names:
a `Bundle` brings the approach.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dicom_sr.findings import Finding, Report
from worker import MIN_AGE_YEARS
from worker.archive import Archive
from worker.domain.graded_study import GradedStudy
from worker.domain.study import RoutedStudy
from worker.domain.volume import Volumes
from worker.findings import all_not_assessed, findings_of
from worker.intake.exclusions import exclude
from worker.intake.headers import read_study
from worker.intake.loading import load
from worker.intake.routing import route
from worker.intake.signal_voids import with_void_flags
from worker.intake.site import SiteRule
from worker.models.bundle import Bundle
from worker.recognise.slice_fetch import MiddleSlice

Observer = Callable[[str], None]
"""Called with the name of each step as it begins."""


class Steps:
    """The steps of one study: reported to an observer as they begin, timed as they end."""

    def __init__(self, observe: Observer = lambda _: None) -> None:
        self._observe = observe
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Run the body as the step of this name."""
        self._observe(name)
        began = time.perf_counter()
        yield
        self.timings_ms[name] = (time.perf_counter() - began) * 1000


def grade(
    study: str,
    archive: Archive,
    bundle: Bundle,
    *,
    site: Sequence[SiteRule] = (),
    min_age_years: int = MIN_AGE_YEARS,
    observe: Observer = lambda _: None,
) -> GradedStudy:
    """Grade one study of an archive: route it by its headers, then grade what was routed.

    `site` holds a site's own routing rules; patients under `min_age_years` are not graded.
    Raises what `route_study` and `grade_routed` raise.
    """
    steps = Steps(observe)
    routed = route_study(study, archive, steps, site=site, min_age_years=min_age_years)
    return grade_routed(routed, archive, bundle, steps)


def route_study(
    study: str,
    archive: Archive,
    steps: Steps | None = None,
    *,
    site: Sequence[SiteRule] = (),
    min_age_years: int = MIN_AGE_YEARS,
) -> RoutedStudy:
    """Route a study by its headers and a site's own rules, or exclude it.

    Of a sagittal series whose headers do not give its weighting one slice is fetched for
    the recogniser; no other pixel is read.

    Raises `Rejected` when there is nothing to grade, `ArchiveUnavailable` when the
    archive does not respond, `BundleMissing` or `BundleMismatch` when the packaged recogniser
    is missing or changed.
    """
    steps = steps or Steps()
    with steps.step("headers"):
        instances = archive.headers(study)
    with steps.step("route"):
        routed = route(read_study(instances), site, MiddleSlice(archive.fetch))
        return exclude(routed, min_age_years, site)


def grade_routed(
    routed: RoutedStudy, archive: Archive, bundle: Bundle, steps: Steps
) -> GradedStudy:
    """Read the routed series' pixels, predict every target and decide.

    What cannot be graded becomes "not assessed" with its reason; of an excluded study
    no pixel is read. Raises `ArchiveUnavailable` when the archive does not respond.
    """
    volumes = Volumes()
    findings: tuple[Finding, ...]
    if routed.exclusions:
        findings = all_not_assessed(routed.exclusions[0].reason, bundle.card)
    else:
        with steps.step("pixels"):
            volumes = load(routed, archive.fetch)
        approach = bundle.approach
        predictions = approach.predict(volumes, bundle.runner.observed(steps.step))
        findings = findings_of(predictions, volumes, bundle.card, approach.requires, routed.absent)
    return GradedStudy(
        report=Report(
            routed.study.study_instance_uid, bundle.identity, findings, bundle.card.target_set
        ),
        routed=with_void_flags(routed, volumes, findings),
        volumes=volumes,
        repairs=(*routed.study.repairs, *volumes.repairs),
        timings_ms=steps.timings_ms,
    )
