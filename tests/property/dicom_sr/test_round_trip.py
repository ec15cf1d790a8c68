"""What is written is read: over reports of every shape, through the bytes of a file."""

from __future__ import annotations

from io import BytesIO

from hypothesis import HealthCheck, given, settings
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
from dicom_sr.reader import read
from dicom_sr.uids import fingerprint
from dicom_sr.writer import write

texts = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 ._/+:()-]{0,30}[A-Za-z0-9]", fullmatch=True)
uid_roots = st.sampled_from(["44036939", "1.2.840.113619.2", "2.25.1", "9.0"])
bundles = st.builds(
    BundleIdentity,
    name=texts,
    version=texts,
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    device_uid=st.integers(0, 2**128 - 1).map(lambda n: f"2.25.{n}"),
)


@st.composite
def source_headers(draw: st.DrawFn) -> list[Dataset]:
    """One to three series of classic or multi-frame images, of any size."""
    study, headers = draw(uid_roots), []
    for series in range(draw(st.integers(1, 3))):
        for instance in range(draw(st.integers(1, 3))):
            frames = draw(st.none() | st.sampled_from([1, 2, 300]))
            ds = Dataset()
            ds.StudyInstanceUID = study
            ds.SeriesInstanceUID = f"{study}.{series}"
            ds.SOPInstanceUID = f"{study}.{series}.{instance}"
            ds.SOPClassUID = MRImageStorage if frames is None else EnhancedMRImageStorage
            ds.Rows, ds.Columns = draw(st.tuples(st.integers(1, 65535), st.integers(1, 65535)))
            if frames is not None:
                ds.NumberOfFrames = frames
            headers.append(ds)
    return headers


@st.composite
def references(draw: st.DrawFn, headers: list[Dataset]) -> tuple[ImageReference, Dataset]:
    """One of the images, or one of its frames."""
    ds = draw(st.sampled_from(headers))
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
def reports(draw: st.DrawFn) -> tuple[Report, list[Dataset]]:
    """A report and its sources; points reach into the corners of the images."""
    headers = draw(source_headers())
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
    return Report(str(headers[0].StudyInstanceUID), draw(bundles), tuple(findings)), headers


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(reports())
def test_read_is_the_inverse_of_write(case: tuple[Report, list[Dataset]]) -> None:
    """A report comes back equal from the bytes of its SR, whatever it says."""
    report, headers = case
    images = [ImageReference(h.SeriesInstanceUID, h.SOPInstanceUID) for h in headers]
    sr = write(report, headers, software_version="1.0", fingerprint=fingerprint(images))
    file = BytesIO()
    dcmwrite(file, sr, enforce_file_format=True)
    file.seek(0)
    assert read(dcmread(file)) == report


@given(st.lists(st.tuples(st.text("12.", max_size=4), st.text("12.", max_size=4)), max_size=6))
def test_fingerprint_depends_on_the_set_of_images_alone(pairs: list[tuple[str, str]]) -> None:
    """Order and repetition change nothing; another image changes it."""
    images = [ImageReference(*pair) for pair in pairs]
    assert fingerprint(images) == fingerprint(reversed([*images, *images]))
    assert fingerprint(images) != fingerprint([*images, ImageReference("3", "4")])
