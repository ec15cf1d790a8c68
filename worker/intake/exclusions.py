"""Rules that exclude a whole study from grading, by its headers alone.

They run after routing, which may have read one slice of a series. What headers do not show
is checked in the pixels during localisation. BodyPartExamined excludes nothing here either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from pydicom import Dataset

from dicom_sr.attributes import text
from dicom_sr.findings import NotAssessedReason
from worker import MIN_AGE_YEARS
from worker.domain.study import Exclusion, Role, RoutedStudy, Series
from worker.intake import vocabulary
from worker.intake.anatomy_words import metal, metal_sequence, transitional
from worker.intake.site import Objection, SiteRule, lifting

MIN_HEIGHT_MM: Final = 100.0
"""The least height of a sagittal stack that can show L1/L2 to L5/S1 of an adult.

These are four level spacings apart, about 30 mm each; a stack of less than 100 mm shows another
part of the body.
"""

ADULT_YEARS: Final = 18

_AGE: Final = re.compile(r"(\d{1,3})\s*([DWMY])")
_IN_A_YEAR: Final = {"D": 365.25, "W": 365.25 / 7, "M": 12, "Y": 1}
_DATE: Final = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)")
_EXAMINED: Final = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")


def exclude(
    routed: RoutedStudy, min_age_years: int = MIN_AGE_YEARS, site: Sequence[SiteRule] = ()
) -> RoutedStudy:
    """The study with all reasons for which its headers exclude it from grading.

    `min_age_years` of 0 accepts patients of every age. Rules of the `site` can lift the others:
    the texts of a series that they match do not exclude the study.
    """
    rules: tuple[tuple[NotAssessedReason, Callable[[RoutedStudy], str | None]], ...] = (
        (NotAssessedReason.UNDER_AGE, lambda study: under_age(study, min_age_years)),
        (NotAssessedReason.NOT_LUMBAR, lambda study: short_stacks(study, site)),
        (NotAssessedReason.TRANSITIONAL_ANATOMY, lambda study: named_transitional(study, site)),
        (NotAssessedReason.METAL_ARTEFACT, lambda study: named_metal(study, site)),
    )
    found = tuple(
        Exclusion(reason, because)
        for reason, rule in rules
        if (because := rule(routed)) is not None
    )
    return replace(routed, exclusions=found)


def under_age(routed: RoutedStudy, min_age_years: int) -> str | None:
    """Patient's Age (PS3.3 C.7.2.3), or Patient's Birth Date (C.7.1.1) on the day of the study.

    Where they differ, the younger counts, unless an adult's birth date is the day of the study; an
    unknown age excludes nothing.
    """
    for header in _one_of_each_series(routed):
        stated, born = _stated_years(header), _years(header)
        if stated is not None and stated >= ADULT_YEARS and _born_on_the_day(header):
            born = None  # de-identified: one dummy date for all dates
        for source, years in (("age", stated), ("birth date", born)):
            if years is not None and years < min_age_years:
                return f"by the patient's {source}, under {min_age_years} years"
    return None


def short_stacks(routed: RoutedStudy, site: Sequence[SiteRule] = ()) -> str | None:
    """No sagittal stack is high enough for five lumbar levels."""
    stacks = [
        series
        for role in (Role.SAGITTAL_T1, Role.SAGITTAL_T2)
        for series in routed.roles.get(role, ())
    ]
    if any(lifting(site, series, Objection.SHORT_STACK) for series in stacks):
        return None
    heights = [_height_mm(series) for series in stacks]
    if heights and max(heights) < MIN_HEIGHT_MM:
        return f"the highest sagittal stack covers {max(heights):.0f} mm"
    return None


def named_transitional(routed: RoutedStudy, site: Sequence[SiteRule] = ()) -> str | None:
    """A description names a transitional vertebra."""
    for description in _texts(_without(routed, site, Objection.TRANSITIONAL)):
        if word := transitional(description):
            return f"by the description: {word}"
    return None


def named_metal(routed: RoutedStudy, site: Sequence[SiteRule] = ()) -> str | None:
    """A description names metal in the spine, or a metal artefact reduction sequence.

    The affected levels are unknown, so none is graded.
    """
    used = _without(routed, site, Objection.METAL)
    for description in _texts(used):
        if word := metal(description):
            return f"by the description: {word}"
    for series in used:
        for description in vocabulary.texts_of(series.acquisition):
            if word := metal_sequence(description):
                return f"by a sequence name: {word}"
    return None


def _one_of_each_series(routed: RoutedStudy) -> Iterator[Dataset]:
    """The first header of every series."""
    series_uid = None
    for (uid, _), header in sorted(routed.study.sources.items(), key=lambda entry: entry[0]):
        if uid != series_uid:
            series_uid = uid
            yield header


def _stated_years(header: Dataset) -> float | None:
    """Patient's Age in years; exporters write an absent age as zero."""
    found = _AGE.fullmatch(text(header, "PatientAge").upper())
    if found is None or not int(found[1]):
        return None
    return int(found[1]) / _IN_A_YEAR[found[2]]


def _years(header: Dataset) -> int | None:
    """The completed years between birth and study."""
    born = _DATE.match(text(header, "PatientBirthDate"))
    examined = next(filter(None, (_DATE.match(text(header, name)) for name in _EXAMINED)), None)
    if born is None or examined is None:
        return None
    birth, day = (tuple(map(int, date.groups())) for date in (born, examined))
    years = day[0] - birth[0] - (day[1:] < birth[1:])
    # A birth date after the study date is a placeholder.
    return years if years >= 0 else None


def _born_on_the_day(header: Dataset) -> bool:
    """Whether the birth date is the date of the study."""
    born = _DATE.match(text(header, "PatientBirthDate"))
    dates = (_DATE.match(text(header, name)) for name in _EXAMINED)
    return born is not None and any(d is not None and d.groups() == born.groups() for d in dates)


def _height_mm(series: Series) -> float:
    low, high = series.extent_mm
    return float(high[2] - low[2])


def _without(
    routed: RoutedStudy, site: Sequence[SiteRule], objection: Objection
) -> tuple[Series, ...]:
    """The series with a role for which no site rule lifts an objection."""
    used = (series for ranked in routed.roles.values() for series in ranked)
    return tuple(series for series in used if not lifting(site, series, objection))


def _texts(used: Sequence[Series]) -> Iterator[str]:
    """The descriptions of the study and of some series."""
    for series in used:
        yield series.acquisition.study_description
        yield from vocabulary.texts_of(series.acquisition)
