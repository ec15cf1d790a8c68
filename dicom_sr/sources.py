"""The source images of a report, by reference, and checks of a report against them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pydicom import Dataset

from dicom_sr.errors import ReportError
from dicom_sr.findings import Graded, ImageReference, Report, Target
from dicom_sr.uids import printable_uid


def check_uids(header: Dataset) -> None:
    """Raise ReportError where an object lacks a UID that a report refers to."""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
        if not header.get(keyword):
            image = f"source image {printable_uid(header.get('SOPInstanceUID'))}"
            raise ReportError(f"{image} has no {keyword}; repair the study first")
        if not str(header[keyword].value).isascii():
            raise ReportError(
                f"the {keyword} of a source image is not a UID; repair the study first"
            )


class Sources:
    """The headers of all source images, ordered by series and SOP Instance UID.

    Raises ReportError when there is no source, or one lacks a UID that can be written.
    """

    def __init__(self, headers: Sequence[Dataset]) -> None:
        if not headers:
            raise ReportError("a report needs the headers of its source images")
        for header in headers:
            check_uids(header)
        by_key = {(str(h.SeriesInstanceUID), str(h.SOPInstanceUID)): h for h in headers}
        self._by_key = dict(sorted(by_key.items()))
        self._series_of_sop = Counter(sop for _, sop in by_key)

    def __iter__(self) -> Iterator[Dataset]:
        return iter(self._by_key.values())

    def __getitem__(self, image: ImageReference) -> Dataset:
        """The header of an image that a checked report refers to."""
        return self._by_key[image.series_instance_uid, image.sop_instance_uid]

    def check(self, report: Report) -> None:
        """Raise ReportError with the finding when the report does not match these images."""
        for header in self:
            if header.StudyInstanceUID != report.study_instance_uid:
                raise ReportError(
                    f"source image {printable_uid(header.SOPInstanceUID)} belongs to study "
                    f"{printable_uid(header.StudyInstanceUID)}, "
                    f"the report to {printable_uid(report.study_instance_uid)}"
                )
        for finding in report.graded:
            self._check_image(finding.target, finding.graded_on)
            self._check_image(finding.target, finding.point.image)
            self._check_point(finding)

    def _check_image(self, target: Target, image: ImageReference) -> None:
        header = self._by_key.get((image.series_instance_uid, image.sop_instance_uid))
        where = (
            f"{target}: image {printable_uid(image.sop_instance_uid)} "
            f"of series {printable_uid(image.series_instance_uid)}"
        )
        if header is None:
            raise ReportError(f"{where} is not among the source images")
        # An SR refers to images by SOP Instance UID alone, so a repeated one is ambiguous.
        if self._series_of_sop[image.sop_instance_uid] > 1:
            raise ReportError(
                f"{where} shares its SOP Instance UID with an image of another series; "
                "repair the study first"
            )
        frames = header.get("NumberOfFrames")
        if image.frame is None:
            if frames is not None and int(frames) > 1:
                raise ReportError(f"{where} has {frames} frames, but the finding names none")
        elif not 1 <= image.frame <= int(frames or 1):
            raise ReportError(f"{where} has no frame {image.frame}")

    def _check_point(self, finding: Graded) -> None:
        point, header = finding.point, self[finding.point.image]
        rows, columns = header.get("Rows"), header.get("Columns")
        if rows is None or columns is None:
            raise ReportError(f"{finding.target}: its image has no Rows or Columns")
        if not (-0.5 <= point.column <= columns - 0.5 and -0.5 <= point.row <= rows - 0.5):
            raise ReportError(
                f"{finding.target}: point (column {point.column:g}, row {point.row:g}) is "
                f"outside of its image of {columns} columns x {rows} rows"
            )
