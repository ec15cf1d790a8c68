"""The content tree: one measurement group per graded target, one code per other target.

    CONTAINER Imaging Measurement Report                        TID 1500
      language, device observer, procedure reported
      TEXT      Comment: research use, how levels were counted
      TEXT      Target set: the name of the set of targets
      CONTAINER Imaging Measurements
        CONTAINER Measurement Group                             TID 1501
          tracking identifier and UID, finding, site and side, algorithm
          IMAGE  the image that was graded
          NUM    Certainty of Finding <- SCOORD point <- IMAGE
          NUM    three class probabilities
          CODE   severity
          TEXT   Comment: the label that viewers draw
      CONTAINER Qualitative Evaluations
        CODE    Not assessed because = reason, with finding, site and side

Viewers read only the groups, and one group without a point makes OHIF show an empty
viewport for the whole SR: targets without a point are in the last container.
"""

from __future__ import annotations

from typing import Final

from highdicom.sr import ContentItem

from dicom_sr import codes, items
from dicom_sr.findings import BundleIdentity, Graded, NotAssessed, Report, Target
from dicom_sr.items import CONTAINS, CONTEXT, MODIFIER, SELECTED_FROM
from dicom_sr.sources import Sources
from dicom_sr.uids import tracking_uid

MANUFACTURER: Final = "Orthanc Lumbar"
NOTICE: Final = (
    "Research use; unverified AI result; levels counted upward from the lowest disc, "
    "five lumbar vertebrae assumed"
)
VIEWER_TOOL: Final = "Cornerstone3DTools@^0.1.0:ArrowAnnotate:"
"""Prefix of the tracking identifier of groups that OHIF restores as labelled arrows."""


def label(finding: Graded) -> str:
    """The text that viewers display, such as `L4/L5 left subarticular stenosis: Severe`."""
    return f"{finding.target}: {finding.severity.label}"


def tree(report: Report, sources: Sources, sr_instance_uid: str) -> ContentItem:
    """The root container of a report that was checked against its sources."""
    groups = [
        _group(finding, report.bundle, sources, tracking_uid(sr_instance_uid, finding.target))
        for finding in _worst_last(report)
    ]
    children = [
        items.code(codes.LANGUAGE, codes.ENGLISH, MODIFIER),
        *_device_observer(report.bundle),
        items.code(codes.PROCEDURE_REPORTED, codes.MRI, MODIFIER),
        items.text(codes.COMMENT, NOTICE, CONTAINS),
        items.text(codes.TARGET_SET, report.target_set, CONTAINS),
        # OHIF requires this container, and highdicom requires that it is not empty.
        items.container(codes.IMAGING_MEASUREMENTS, groups or [_nothing_graded()]),
    ]
    if report.not_assessed:
        evaluations = [_not_assessed(finding) for finding in report.not_assessed]
        children.append(items.container(codes.QUALITATIVE_EVALUATIONS, evaluations))
    root = items.container(codes.IMAGING_MEASUREMENT_REPORT, children, template="1500")
    del root.RelationshipType
    return root


def _worst_last(report: Report) -> list[Graded]:
    """The graded findings, the worst last: viewers navigate to the last group of an SR."""
    return sorted(
        report.graded,
        key=lambda f: (f.severity.rank, f.probabilities.severe, f.probabilities.moderate),
    )


def _group(finding: Graded, bundle: BundleIdentity, sources: Sources, tracking: str) -> ContentItem:
    """One measurement group; the point is a child of its first NUM, where OHIF reads it."""
    shown, graded_on = finding.point.image, finding.graded_on
    point = items.point(
        finding.point.column,
        finding.point.row,
        items.image(sources[shown], shown.frame, SELECTED_FROM),
    )
    children = [
        items.text(codes.TRACKING_IDENTIFIER, f"{VIEWER_TOOL}{finding.target}", CONTEXT),
        items.uid(codes.TRACKING_UID, tracking, CONTEXT),
        items.code(codes.FINDING, codes.CONDITIONS[finding.target.condition], CONTAINS),
        _site(finding.target),
        items.text(codes.ALGORITHM_NAME, bundle.name, MODIFIER),
        items.text(codes.ALGORITHM_VERSION, bundle.version, MODIFIER),
        items.text(codes.ALGORITHM_PARAMETERS, f"sha256={bundle.sha256}", MODIFIER),
        items.image(sources[graded_on], graded_on.frame, CONTAINS),
        items.percent(codes.CERTAINTY, finding.confidence, [point]),
        *(
            items.percent(name, finding.probabilities.of(severity))
            for severity, name in codes.PROBABILITIES.items()
        ),
        items.code(codes.SEVERITY, codes.SEVERITIES[finding.severity], CONTAINS),
        items.text(codes.COMMENT, label(finding), CONTAINS),
    ]
    return items.container(codes.MEASUREMENT_GROUP, children, template="1501")


def _not_assessed(finding: NotAssessed) -> ContentItem:
    condition = codes.CONDITIONS[finding.target.condition]
    return items.code(
        codes.NOT_ASSESSED,
        codes.REASONS[finding.reason],
        CONTAINS,
        [items.code(codes.FINDING, condition, MODIFIER), _site(finding.target)],
    )


def _nothing_graded() -> ContentItem:
    return items.text(codes.COMMENT, "No target could be graded", CONTAINS)


def _site(target: Target) -> ContentItem:
    """Finding Site: the disc level, and the laterality where the target has a side."""
    side = [] if target.side is None else [codes.SIDES[target.side]]
    laterality = [items.code(codes.LATERALITY, value, MODIFIER) for value in side]
    return items.code(codes.FINDING_SITE, codes.LEVELS[target.level], MODIFIER, laterality)


def _device_observer(bundle: BundleIdentity) -> list[ContentItem]:
    """The observer: the model bundle (TID 1002 and 1004)."""
    return [
        items.code(codes.OBSERVER_TYPE, codes.DEVICE, CONTEXT),
        items.uid(codes.DEVICE_OBSERVER_UID, bundle.device_uid, CONTEXT),
        items.text(codes.DEVICE_OBSERVER_NAME, MANUFACTURER, CONTEXT),
        items.text(codes.DEVICE_OBSERVER_MANUFACTURER, MANUFACTURER, CONTEXT),
        items.text(codes.DEVICE_OBSERVER_MODEL, f"{bundle.name} {bundle.version}", CONTEXT),
        items.text(codes.DEVICE_OBSERVER_SERIAL, bundle.sha256, CONTEXT),
    ]
