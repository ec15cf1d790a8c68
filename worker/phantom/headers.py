"""The DICOM attributes of a phantom: complete, valid, and clearly not of a patient."""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from worker.domain.study import Role
from worker.phantom.randomness import stream
from worker.phantom.study import Phantom, PhantomSeries

_MANUFACTURER: Final = "Orthanc Lumbar phantom"


def file_meta(sop_instance_uid: str) -> FileMetaDataset:
    """The file meta information of one image (PS3.10 section 7.1)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def study_header(phantom: Phantom) -> Dataset:
    """Patient, General Study and Frame of Reference modules (PS3.3 C.7.1, C.7.2, C.7.4).

    Name, id and birth date are generated from the seed; a mirrored phantom is another patient.
    """
    rng = stream(phantom.seed, "patient")
    born = f"{rng.integers(1940, 1996)}{rng.integers(1, 13):02}{rng.integers(1, 29):02}"
    examined = f"2024{rng.integers(1, 13):02}{rng.integers(1, 29):02}"
    suffix = "M" if phantom.mirrored else ""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.PatientName = f"PHANTOM^SEED{phantom.seed}{suffix}"
    header.PatientID = f"PHANTOM-{phantom.seed}{suffix}"
    header.PatientBirthDate = born
    header.PatientSex = str(rng.choice(["F", "M"]))
    header.StudyInstanceUID = phantom.study_instance_uid
    header.StudyID = str(phantom.seed)
    header.StudyDate = examined
    header.StudyTime = f"{rng.integers(8, 18):02}{rng.integers(0, 60):02}00"
    header.StudyDescription = "MRI lumbar spine (synthetic)"
    header.AccessionNumber = f"PH{phantom.seed}{suffix}"
    header.ReferringPhysicianName = ""
    header.FrameOfReferenceUID = phantom.frame_of_reference_uid
    header.PositionReferenceIndicator = ""
    return header


def series_header(phantom: Phantom, series: PhantomSeries) -> Dataset:
    """The attributes that all images of a series share, with those of the study."""
    planned = series.acquisition
    t1 = planned.role is Role.SAGITTAL_T1
    header = study_header(phantom)
    header.Modality = "MR"
    header.SeriesInstanceUID = series.series_instance_uid
    header.SeriesNumber = planned.number
    header.SeriesDescription = planned.description
    header.ProtocolName = planned.description
    header.SeriesDate = header.AcquisitionDate = header.ContentDate = header.StudyDate
    header.SeriesTime = header.AcquisitionTime = header.ContentTime = header.StudyTime
    header.BodyPartExamined = "LSPINE"
    header.PatientPosition = "HFS"
    header.Manufacturer = _MANUFACTURER
    header.ManufacturerModelName = "Numerical phantom"
    header.DeviceSerialNumber = "0"
    header.SoftwareVersions = "worker.phantom"
    header.SOPClassUID = MRImageStorage
    header.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    header.AcquisitionNumber = 1
    header.ScanningSequence = "SE"
    header.SequenceVariant = ["SK", "SP", "OSP"]
    header.ScanOptions = ""
    header.MRAcquisitionType = "2D"
    header.SequenceName = f"*tse2d1_{planned.echo_train_length}"
    header.RepetitionTime = planned.repetition_time_ms
    header.EchoTime = planned.echo_time_ms
    header.EchoNumbers = 1
    header.EchoTrainLength = planned.echo_train_length
    header.FlipAngle = planned.flip_angle_deg
    header.PixelBandwidth = planned.bandwidth_hz
    header.NumberOfAverages = 2 if t1 else 1
    header.MagneticFieldStrength = 1.5
    header.ImagingFrequency = 63.87
    header.ImagedNucleus = "1H"
    header.SliceThickness = planned.slice_thickness_mm
    header.SpacingBetweenSlices = planned.slice_spacing_mm
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated = 16
    header.BitsStored = 12
    header.HighBit = 11
    header.PixelRepresentation = 0
    return header


def image(phantom: Phantom, series: PhantomSeries, index: int) -> Dataset:
    """One image as a complete MR Image Storage object (PS3.3 A.4), pixels included."""
    plane, pixels = series.planes[index], series.pixels[index]
    dataset = series_header(phantom, series)
    dataset.file_meta = file_meta(series.sop_instance_uids[index])
    dataset.SOPInstanceUID = series.sop_instance_uids[index]
    dataset.InstanceNumber = index + 1
    dataset.ImagePositionPatient = [_decimal(value) for value in plane.position_mm]
    dataset.ImageOrientationPatient = [
        _decimal(value) for value in (*plane.along_columns, *plane.along_rows)
    ]
    dataset.SliceLocation = _decimal(plane.offset_mm, 4)
    dataset.PixelSpacing = [_decimal(plane.row_spacing_mm), _decimal(plane.column_spacing_mm)]
    dataset.Rows, dataset.Columns = plane.rows, plane.columns
    low, high = (float(v) for v in (pixels.min(), pixels.max()))
    dataset.WindowCenter = round((low + high) / 2 * 0.7)
    dataset.WindowWidth = max(round((high - low) * 0.7), 1)
    dataset.PixelData = pixels.astype("<u2").tobytes()
    return dataset


def _decimal(value: float, digits: int = 9) -> str:
    # A decimal string has at most 16 characters (PS3.5 6.2).
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")[:16]
