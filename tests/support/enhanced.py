"""A series of classic MR images as one Enhanced MR Image Storage object (PS3.3 A.36)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import EnhancedMRImageStorage

from dicom_sr.uids import derived_uid

PER_SLICE = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceLocation"),
    *("SliceThickness", "SpacingBetweenSlices", "WindowCenter", "WindowWidth", "ImageType"),
    *("EchoTime", "RepetitionTime", "FlipAngle", "EchoTrainLength", "ScanningSequence"),
    *("SequenceVariant", "ScanOptions", "SequenceName", "EchoNumbers", "NumberOfAverages"),
)
"""What a classic image has at its top, and an enhanced one in its functional groups or not."""


def enhance_study(folder: Path) -> None:
    """Replace the images of every series below a folder by one enhanced object."""
    for series in {file.parent for file in folder.rglob("*.dcm")}:
        files = sorted(series.glob("*.dcm"))
        enhanced([dcmread(file) for file in files]).save_as(
            series / "enhanced.dcm", enforce_file_format=True
        )
        for file in files:
            file.unlink()


def enhanced(images: Sequence[Dataset]) -> Dataset:
    """One object whose frames are these images, in the order of their SOP Instance UIDs.

    The order is no order in space: a reader that takes frames as they come is found out.
    """
    images = sorted(images, key=lambda image: str(image.SOPInstanceUID))
    first = images[0]
    result = Dataset()
    result.update({e.tag: e for e in first if e.keyword not in (*PER_SLICE, "PixelData")})
    result.file_meta = first.file_meta
    result.SOPClassUID = EnhancedMRImageStorage
    result.SOPInstanceUID = derived_uid("enhanced", str(first.SeriesInstanceUID))
    result.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    result.file_meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID
    result.InstanceNumber = 1
    result.NumberOfFrames = len(images)
    result.ImageType = ["ORIGINAL", "PRIMARY", "OTHER", "NONE"]
    result.PulseSequenceName = "TSE"
    result.EchoPulseSequence = "SPIN"
    result.SharedFunctionalGroupsSequence = [_shared(first)]
    result.PerFrameFunctionalGroupsSequence = [_frame(image) for image in images]
    result.PixelData = b"".join(image.PixelData for image in images)
    return result


def _shared(image: Dataset) -> Dataset:
    return _item(
        PlaneOrientationSequence=_item(ImageOrientationPatient=image.ImageOrientationPatient),
        MREchoSequence=_item(EffectiveEchoTime=float(image.EchoTime)),
        MRTimingAndRelatedParametersSequence=_item(
            RepetitionTime=image.RepetitionTime,
            FlipAngle=image.FlipAngle,
            EchoTrainLength=image.EchoTrainLength,
        ),
        PixelValueTransformationSequence=_item(
            RescaleIntercept=0, RescaleSlope=1, RescaleType="US"
        ),
    )


def _frame(image: Dataset) -> Dataset:
    return _item(
        FrameContentSequence=_item(StackID="1", InStackPositionNumber=image.InstanceNumber),
        PlanePositionSequence=_item(ImagePositionPatient=image.ImagePositionPatient),
        # Some stacks are oblique in parts: the orientation of each frame is its own.
        PlaneOrientationSequence=_item(ImageOrientationPatient=image.ImageOrientationPatient),
        PixelMeasuresSequence=_item(
            PixelSpacing=image.PixelSpacing, SliceThickness=image.SliceThickness
        ),
        FrameVOILUTSequence=_item(WindowCenter=image.WindowCenter, WindowWidth=image.WindowWidth),
    )


def _item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, [value] if isinstance(value, Dataset) else value)
    return item
