"""Studies and reports of every shape: what archives and research exports are seen to hold."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, replace
from io import BytesIO

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

from dicom_sr.findings import (
    TARGETS,
    BundleIdentity,
    Graded,
    ImagePoint,
    ImageReference,
    NotAssessed,
    NotAssessedReason,
    Probabilities,
    Report,
)
from dicom_sr.uids import fingerprint
from dicom_sr.writer import write

NAMES: dict[str | tuple[str, ...] | None, str] = {
    None: "Miller^John",
    "ISO_IR 100": "Müller^Jörg",
    "ISO_IR 126": "Διονυσιος",
    "ISO_IR 144": "Иванов^Иван",
    ("", "ISO 2022 IR 87"): "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ("ISO 2022 IR 13", "ISO 2022 IR 87"): "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ("", "ISO 2022 IR 149"): "Hong^Gildong=洪^吉洞=홍^길동",
    "GB18030": "Wang^XiaoDong=王^小东",
    "ISO_IR 192": "Wang^XiaoDong=王^小東=Иванов^Jörg",
}
"""A name for each Specific Character Set (PS3.5 annexes H, I, J), as it can be written in it."""

ROOTS = ("44036939", "1.2.840.113619.2", "2.25.1", "9.0")

many = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

texts = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 ._/+:()-]{0,30}[A-Za-z0-9]", fullmatch=True)
bundles = st.builds(
    BundleIdentity,
    name=texts,
    version=texts,
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    device_uid=st.integers(0, 2**128 - 1).map(lambda n: f"2.25.{n}"),
)


@dataclass(frozen=True)
class Written:
    """An SR as it is read from its file, what it was written from, and whom it revises."""

    sr: Dataset
    report: Report
    headers: list[Dataset]
    predecessor: Dataset | None


def through_bytes(dataset: Dataset) -> Dataset:
    """A dataset as it comes from a file: its texts are bytes until somebody looks."""
    file = BytesIO()
    if "file_meta" in vars(dataset):
        dcmwrite(file, dataset, enforce_file_format=True)
    else:
        dcmwrite(file, dataset, implicit_vr=False, little_endian=True)
    file.seek(0)
    return dcmread(file, force=True)


@st.composite
def patients(draw: st.DrawFn) -> Dataset:
    """What all images of a study say about patient, study and order, unless they lack it."""
    character_set = draw(st.sampled_from(list(NAMES)))
    ds = Dataset()
    if character_set is not None:
        ds.SpecificCharacterSet = (
            character_set if isinstance(character_set, str) else list(character_set)
        )
    ds.PatientName = ds.ReferringPhysicianName = NAMES[character_set]
    ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "P-1", "19600102", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20240501", "1015", "7", "A-9"
    ds.StudyDescription = NAMES[character_set].replace("=", " ")
    order = Dataset()
    order.RequestedProcedureDescription = ds.StudyDescription
    ds.RequestAttributesSequence = [order]
    return ds


def image(
    root: str, series: int, instance: int, frames: int | None, size: tuple[int, int]
) -> Dataset:
    """What no image lacks; without a number of frames it is a classic one."""
    ds = Dataset()
    ds.StudyInstanceUID = root
    ds.SeriesInstanceUID = f"{root}.{series}"
    ds.SOPInstanceUID = f"{root}.{series}.{instance}"
    ds.SOPClassUID = MRImageStorage if frames is None else EnhancedMRImageStorage
    ds.Rows, ds.Columns = size
    ds.PixelSpacing = [0.5, 1.25]
    if frames is not None:
        ds.NumberOfFrames = frames
    return ds


@st.composite
def source_headers(draw: st.DrawFn) -> list[Dataset]:
    """One to three series of classic or multi-frame images, of any size, with oblong pixels.

    Attributes are missing image by image; one image may be in UTF-8 among others, and one
    SOP Instance UID may be that of two series.
    """
    root, patient = draw(st.sampled_from(ROOTS)), draw(patients())
    patchy, mixed = draw(st.booleans()), draw(st.booleans())
    headers = []
    for series in range(draw(st.integers(1, 3))):
        for instance in range(draw(st.integers(1, 3))):
            ds = Dataset()
            for element in patient:
                state = draw(st.sampled_from(["kept", "empty", "missing"])) if patchy else "kept"
                if state == "kept" or element.keyword == "SpecificCharacterSet":
                    ds.add(deepcopy(element))
                elif state == "empty":
                    ds.add_new(element.tag, element.VR, None)
            if mixed and not headers:
                ds.SpecificCharacterSet = "ISO_IR 192"
            frames = draw(st.none() | st.sampled_from([1, 2, 300]))
            size = draw(st.tuples(st.integers(1, 65535), st.integers(1, 65535)))
            ds.update(image(root, series, instance, frames, size))
            headers.append(ds)
    elsewhere = [h for h in headers if h.SeriesInstanceUID != headers[-1].SeriesInstanceUID]
    if len(headers) > 2 and elsewhere and draw(st.booleans()):
        headers[-1].SOPInstanceUID = draw(st.sampled_from(elsewhere)).SOPInstanceUID
    return [through_bytes(header) for header in headers]


@st.composite
def references(draw: st.DrawFn, headers: list[Dataset]) -> tuple[ImageReference, Dataset]:
    """One of the images that have their UID alone, or one of its frames."""
    series = Counter(str(header.SOPInstanceUID) for header in headers)
    ds = draw(st.sampled_from([h for h in headers if series[h.SOPInstanceUID] == 1]))
    frames = ds.get("NumberOfFrames")
    frame = None if frames is None else draw(st.integers(1, int(frames)))
    if frames == 1:
        frame = draw(st.sampled_from([None, 1]))
    return ImageReference(str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID), frame), ds


@st.composite
def probabilities(draw: st.DrawFn) -> Probabilities:
    """Any three that sum to one, the certain ones among them."""
    a, b = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    return Probabilities(a, b - a, 1 - b)


@st.composite
def reports(draw: st.DrawFn, headers: list[Dataset]) -> Report:
    """A report about these images; points reach into their corners."""
    how_many = draw(st.sampled_from([0, 1, 12, 25]))
    graded = set(draw(st.permutations(TARGETS))[:how_many])
    findings: list[Graded | NotAssessed] = []
    for target in TARGETS:
        if target not in graded:
            findings.append(NotAssessed(target, draw(st.sampled_from(NotAssessedReason))))
            continue
        (shown, ds), (graded_on, _) = draw(references(headers)), draw(references(headers))
        point = ImagePoint(
            shown,
            draw(st.floats(-0.5, ds.Columns - 0.5)),
            draw(st.floats(-0.5, ds.Rows - 0.5)),
        )
        confidence = draw(st.floats(0, 1))
        findings.append(Graded(target, draw(probabilities()), confidence, point, graded_on))
    return Report(str(headers[0].StudyInstanceUID), draw(bundles), tuple(findings))


@st.composite
def written(draw: st.DrawFn) -> Written:
    """A report that was written, with or without a predecessor about the study's first image."""
    headers = draw(source_headers())
    report = draw(reports(headers))
    predecessor = None
    if draw(st.booleans()):
        reason = NotAssessedReason.LEVEL_NOT_FOUND
        nothing = replace(report, findings=tuple(NotAssessed(t, reason) for t in TARGETS))
        predecessor = through_bytes(_write(nothing, headers[:1]))
    return Written(
        through_bytes(_write(report, headers, predecessor)), report, headers, predecessor
    )


def _write(report: Report, headers: list[Dataset], predecessor: Dataset | None = None) -> Dataset:
    images = [ImageReference(h.SeriesInstanceUID, h.SOPInstanceUID) for h in headers]
    return write(
        report,
        headers,
        software_version="1.0",
        pipeline_version=1,
        # The predecessor's images may be all there are; its models were older then.
        fingerprint=fingerprint(images) + ("" if predecessor is None else "+"),
        predecessor=predecessor,
    )
