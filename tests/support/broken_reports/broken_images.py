"""References that break a rule about the images they mean, and a report that contradicts itself."""

from __future__ import annotations

from pydicom.uid import CTImageStorage

from dicom_sr.checking import images, reads_as_a_lumbar_report

from .breaking import (
    COMMENT,
    FIRST,
    Case,
    changed,
    evidence,
    evidence_in_two_series,
    point,
    point_on_no_frame,
    put_in,
    reference,
)

CERTAIN = f"{FIRST}, item 1.11.1.9"
"""The first NUM of the first group, and what hangs under it."""

CASES = {
    "no evidence": Case(
        images.images_are_evidence,
        lambda sr: evidence(sr).pop(),
        *("error", f"{FIRST}, item 1.11.1.8", "evidence nowhere"),
    ),
    "evidence in two series": Case(
        images.images_are_evidence,
        evidence_in_two_series,
        *("error", CERTAIN, "in more than one series"),
    ),
    "an unknown image": Case(
        images.images_exist,
        lambda sr: changed(reference(sr), ReferencedSOPInstanceUID="1.2.9"),
        *("error", f"{FIRST}, item 1.11.1.8", "not among those given"),
    ),
    "an image of another class": Case(
        images.images_exist,
        lambda sr: changed(reference(sr), ReferencedSOPClassUID=CTImageStorage),
        *("error", f"{FIRST}, item 1.11.1.8", "another SOP Class"),
    ),
    "a frame too many": Case(
        images.frames_are_named,
        lambda sr: changed(reference(sr), ReferencedFrameNumber=11),
        *("error", f"{FIRST}, item 1.11.1.8", "its image has 10"),
    ),
    "a frame of a classic image": Case(
        images.frames_are_named,
        lambda sr: changed(
            point(sr).ContentSequence[0].ReferencedSOPSequence[0], ReferencedFrameNumber=2
        ),
        *("error", CERTAIN, "its image has 1"),
    ),
    "a point on all frames": Case(
        images.frames_are_named, point_on_no_frame, "error", CERTAIN, "none of the 10 frames"
    ),
    "a source of all frames": Case(
        images.frames_are_named,
        lambda sr: reference(sr).pop("ReferencedFrameNumber"),
        *("warning", f"{FIRST}, item 1.11.1.8", "none of the 10 frames"),
    ),
    "a column outside": Case(
        images.points_lie_inside,
        lambda sr: changed(point(sr), GraphicData=[256.5, 1.0]),
        *("error", CERTAIN, "outside of its image of 256 Columns"),
    ),
    "a row outside": Case(
        images.points_lie_inside,
        lambda sr: changed(point(sr), GraphicData=[1.0, 320.5]),
        *("error", CERTAIN, "outside of its image of 320 Rows"),
    ),
    "a contradiction": Case(
        reads_as_a_lumbar_report,
        put_in(COMMENT, TextValue="L4/L5 left subarticular stenosis: Severe"),
        *("error", "document", "the label 'L4/L5 left"),
    ),
}
