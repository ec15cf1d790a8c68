"""Reads the physics and the texts of a series from a classic or enhanced MR header."""

from __future__ import annotations

import re
from typing import Final

from pydicom import Dataset

from dicom_sr.attributes import functional_group, integer, number, text, texts, values
from worker.domain.study import Acquisition
from worker.intake.contrast import agent_given

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


def image_type(header: Dataset, frame: Dataset | None) -> tuple[str, ...]:
    """The image type of a classic image, or the frame type of one frame, in upper case.

    `frame` is the item of functional groups, None for a classic image.
    """
    if frame is not None:
        group = functional_group(header, frame, "MRImageFrameTypeSequence")
        if own := texts(group, "FrameType"):
            return own
    return texts(header, "ImageType")


def echo_time_ms(header: Dataset, frame: Dataset | None) -> float | None:
    """The echo time of one image or one frame; see `image_type`."""
    if frame is None:
        return _first(number(header, "EchoTime"))
    group = functional_group(header, frame, "MREchoSequence")
    return _first(
        number(group, "EffectiveEchoTime"),
        number(header, "EchoTime"),
        *(number(one, "EchoTime") for one in _converted(header, frame)),
    )


def _converted(header: Dataset, frame: Dataset) -> tuple[Dataset, ...]:
    """The attributes that a conversion to enhanced MR did not assign, of a frame and of all.

    Unassigned Per-Frame and Unassigned Shared Converted Attributes (PS3.3 C.7.6.16.2.23.1, .24.1).
    """
    return (
        functional_group(header, frame, "UnassignedPerFrameConvertedAttributesSequence"),
        functional_group(header, frame, "UnassignedSharedConvertedAttributesSequence"),
    )


def read_acquisition(header: Dataset, frame: Dataset | None) -> Acquisition:
    """The acquisition of one image or, of an enhanced image, of one frame; see `image_type`.

    Classic attributes are those of PS3.3 C.8.3.1, enhanced ones those of the MR Timing,
    MR Echo, MR Modifier and MR Image Frame Type functional groups (C.8.13.5).
    """
    groups = Dataset() if frame is None else frame
    if frame is not None:
        header = _with_converted(header, frame)
    timing = functional_group(header, groups, "MRTimingAndRelatedParametersSequence")
    modifier = functional_group(header, groups, "MRModifierSequence")
    return Acquisition(
        echo_time_ms=echo_time_ms(header, frame),
        repetition_time_ms=_first(
            number(header, "RepetitionTime"), number(timing, "RepetitionTime")
        ),
        inversion_time_ms=_first(
            number(header, "InversionTime"), number(modifier, "InversionTimes")
        ),
        flip_angle_deg=_first(number(header, "FlipAngle"), number(timing, "FlipAngle")),
        echo_train_length=integer(header, "EchoTrainLength") or integer(timing, "EchoTrainLength"),
        scanning_sequence=texts(header, "ScanningSequence") or _pulse_sequence(header, modifier),
        sequence_variant=texts(header, "SequenceVariant"),
        sequence_name=_clean(header, "SequenceName") or _clean(header, "PulseSequenceName"),
        acquisition_type=text(header, "MRAcquisitionType").upper(),
        image_type=image_type(header, frame),
        contrast_agent=_contrast_agent(header),
        series_description=_clean(header, "SeriesDescription"),
        protocol_name=_clean(header, "ProtocolName"),
        body_part=_clean(header, "BodyPartExamined"),
        modality=text(header, "Modality").upper(),
        sop_class_uid=text(header, "SOPClassUID"),
        study_description=_clean(header, "StudyDescription"),
        acquired=_acquired(header),
        scan_options=texts(header, "ScanOptions") or _suppression(modifier),
        manufacturer=_clean(header, "Manufacturer"),
        model_name=_clean(header, "ManufacturerModelName"),
        station_name=_clean(header, "StationName"),
        series_number=integer(header, "SeriesNumber"),
    )


def _clean(header: Dataset, keyword: str) -> str:
    """A text without control characters and marks that change the direction of writing.

    Texts of a header reach terminals, logs and pages.
    """
    return _CONTROL.sub(" ", text(header, keyword)).strip()


def _with_converted(header: Dataset, frame: Dataset) -> Dataset:
    """A header with the converted attributes that it lacks itself."""
    whole = Dataset()
    for source in (*reversed(_converted(header, frame)), header):
        whole.update(source)
    return whole


def _first(*found: float | None) -> float | None:
    """The first value other than zero: exporters write absent times as zero."""
    return next((value for value in found if value), None)


def _pulse_sequence(header: Dataset, modifier: Dataset) -> tuple[str, ...]:
    """The enhanced attributes as terms of the classic ScanningSequence."""
    echo = text(header, "EchoPulseSequence").upper()
    terms = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}.get(echo, ())
    if text(header, "EchoPlanarPulseSequence").upper() == "YES":
        terms = (*terms, "EP")
    if text(modifier, "InversionRecovery").upper() == "YES":
        terms = (*terms, "IR")
    return terms


def _suppression(modifier: Dataset) -> tuple[str, ...]:
    """The enhanced Spectrally Selected Suppression as a term of the classic ScanOptions."""
    return ("FS",) if "FAT" in text(modifier, "SpectrallySelectedSuppression").upper() else ()


def _contrast_agent(header: Dataset) -> str:
    agent = _clean(header, "ContrastBolusAgent")
    if agent_given(agent):
        return agent
    return "yes" if values(header, "ContrastBolusAgentSequence") else ""


def acquisition_pass(header: Dataset) -> tuple[str, int]:
    """Acquisition Number and the time of the acquisition, by which passes of a scan differ."""
    acquired = f"{text(header, 'AcquisitionDate')} {text(header, 'AcquisitionTime')}".strip()
    return acquired, integer(header, "AcquisitionNumber") or 0


def _acquired(header: Dataset) -> str:
    for part in ("Acquisition", "Series", "Content"):
        date, time = text(header, f"{part}Date"), text(header, f"{part}Time")
        if date or time:
            return f"{date} {time}"
    return ""
