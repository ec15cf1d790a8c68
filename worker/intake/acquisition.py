"""The physics and the texts of a series, from a classic or an enhanced MR header."""

from __future__ import annotations

from pydicom import Dataset

from worker.intake.elements import integer, item, number, text, texts, values
from worker.nouns.study import Acquisition

_NO_AGENT = frozenset({"", "NO", "NONE", "N", "0", "NOT APPLIED", "WITHOUT"})


def read_acquisition(header: Dataset) -> Acquisition:
    """The acquisition of one image; of an enhanced image, that of its first frame.

    Classic attributes are those of PS3.3 C.8.3.1, enhanced ones those of the MR Timing,
    MR Echo, MR Modifier and MR Image Frame Type functional groups (C.8.13.5).
    """
    first = item(header, "PerFrameFunctionalGroupsSequence")
    shared = item(header, "SharedFunctionalGroupsSequence")

    def group(keyword: str) -> Dataset:
        return item(first if values(first, keyword) else shared, keyword)

    timing = group("MRTimingAndRelatedParametersSequence")
    modifier = group("MRModifierSequence")
    return Acquisition(
        echo_time_ms=_first(
            number(header, "EchoTime"), number(group("MREchoSequence"), "EffectiveEchoTime")
        ),
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
        sequence_name=text(header, "SequenceName") or text(header, "PulseSequenceName"),
        acquisition_type=text(header, "MRAcquisitionType").upper(),
        image_type=texts(header, "ImageType")
        or texts(group("MRImageFrameTypeSequence"), "FrameType"),
        contrast_agent=_contrast_agent(header),
        series_description=text(header, "SeriesDescription"),
        protocol_name=text(header, "ProtocolName"),
        body_part=text(header, "BodyPartExamined"),
        modality=text(header, "Modality").upper(),
        sop_class_uid=text(header, "SOPClassUID"),
        study_description=text(header, "StudyDescription"),
        acquired=_acquired(header),
        scan_options=texts(header, "ScanOptions") or _suppression(modifier),
        manufacturer=text(header, "Manufacturer"),
        model_name=text(header, "ManufacturerModelName"),
        station_name=text(header, "StationName"),
        series_number=integer(header, "SeriesNumber"),
    )


def _first(*found: float | None) -> float | None:
    """The first that says something: zero is how exporters write an absent time."""
    return next((value for value in found if value), None)


def _pulse_sequence(header: Dataset, modifier: Dataset) -> tuple[str, ...]:
    """The enhanced attributes in the words of the classic ScanningSequence."""
    echo = text(header, "EchoPulseSequence").upper()
    words = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}.get(echo, ())
    if text(header, "EchoPlanarPulseSequence").upper() == "YES":
        words = (*words, "EP")
    if text(modifier, "InversionRecovery").upper() == "YES":
        words = (*words, "IR")
    return words


def _suppression(modifier: Dataset) -> tuple[str, ...]:
    """The enhanced Spectrally Selected Suppression in the words of the classic ScanOptions."""
    return ("FS",) if "FAT" in text(modifier, "SpectrallySelectedSuppression").upper() else ()


def _contrast_agent(header: Dataset) -> str:
    agent = text(header, "ContrastBolusAgent")
    if agent.upper() not in _NO_AGENT:
        return agent
    return "yes" if values(header, "ContrastBolusAgentSequence") else ""


def _acquired(header: Dataset) -> str:
    for part in ("Acquisition", "Series", "Content"):
        date, time = text(header, f"{part}Date"), text(header, f"{part}Time")
        if date or time:
            return f"{date} {time}"
    return ""
