"""Cases as hypothesis draws them: a study as it is stored, and up to three mutations of it."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import AllTransferSyntaxes

from tests.support.fuzzing.mutations import (
    ODD,
    Again,
    Beside,
    Bytes,
    Copy,
    Drop,
    Flip,
    Halve,
    Merge,
    Meta,
    Mutation,
    Odd,
    Put,
    Remove,
    Take,
    Unwrap,
    Where,
)
from tests.support.fuzzing.originals import KINDS
from tests.support.fuzzing.values import VALUES, fitting

GEOMETRY = (
    *("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "Rows", "Columns"),
    *("FrameOfReferenceUID", "PatientPosition", "NumberOfFrames", "InstanceNumber"),
)
PIXELS = (
    *("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation", "PixelData"),
    *("RescaleSlope", "RescaleIntercept", "PlanarConfiguration", "PixelPaddingValue"),
    *("FloatPixelData", "RedPaletteColorLookupTableDescriptor", "ExtendedOffsetTable"),
)
IDENTITY = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality"),
    "SpecificCharacterSet",
)
PHYSICS = (
    *("EchoTime", "RepetitionTime", "InversionTime", "FlipAngle", "EchoTrainLength"),
    *("ScanningSequence", "SequenceVariant", "SequenceName", "MRAcquisitionType", "ImageType"),
    *("ContrastBolusAgent", "ScanOptions", "EchoPulseSequence"),
)
TEXTS = (
    *("SeriesDescription", "ProtocolName", "BodyPartExamined", "StudyDescription"),
    *("Manufacturer", "StationName", "SeriesNumber", "PulseSequenceName"),
)
COPIED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber", "IssuerOfPatientID"),
    *("TypeOfPatientID", "PatientIdentityRemoved", "DeidentificationMethod", "PatientAge"),
    *("PatientSize", "PatientWeight", "TimezoneOffsetFromUTC", "ContentDate", "ContentTime"),
    *("AcquisitionDate", "AcquisitionTime", "SeriesDate", "SeriesTime"),
)
SEQUENCES = (
    *("RequestAttributesSequence", "ReferencedPerformedProcedureStepSequence"),
    *("ProcedureCodeSequence", "IssuerOfAccessionNumberSequence"),
    *("DeidentificationMethodCodeSequence", "SharedFunctionalGroupsSequence"),
    *("PerFrameFunctionalGroupsSequence", "ContrastBolusAgentSequence", "ContentSequence"),
    *("PredecessorDocumentsSequence", "CurrentRequestedProcedureEvidenceSequence"),
    *("ContributingEquipmentSequence", "ModalityLUTSequence"),
)
GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "MREchoSequence": ("EffectiveEchoTime",),
    "MRTimingAndRelatedParametersSequence": ("RepetitionTime", "FlipAngle", "EchoTrainLength"),
}
"""Functional groups of an enhanced object, and what is read of each."""

VRS = ("US", "SS", "UL", "FD", "DS", "IS", "LO", "PN", "UI", "CS", "DA", "UT", "SQ", "OB", "UN")

FILES = {
    "empty.dcm": b"",
    "letter.dcm": b"Dear colleague,\n",
    "magic.dcm": bytes(128) + b"DICM",
    "magic": bytes(128) + b"DICM" + b"\xff" * 40,
    "DICOMDIR": bytes(128) + b"DICM",
    "picture.png": b"\x89PNG\r\n",
    "patient.txt": b"ZZMARKID",
}


@dataclass(frozen=True)
class Case:
    """One study to be broken.

    `series` are those it has, of T1, T2 and axial T2. `stored` asks for the report as well:
    written as SR, stored and read back.
    """

    kind: str
    series: tuple[int, ...]
    mutations: tuple[Mutation, ...]
    stored: bool = False
    with_report: bool = False
    """Whether an earlier report of ours lies beside the images, as a further series."""


def keywords() -> st.SearchStrategy[str]:
    """What intake reads and reports copy; geometry and pixels most often."""
    return st.one_of(
        *(st.sampled_from(names) for names in (GEOMETRY, PIXELS, IDENTITY)),
        *(st.sampled_from(names) for names in (PHYSICS + TEXTS, COPIED, SEQUENCES)),
    )


@st.composite
def puts(draw: st.DrawFn, make: type[Put] | type[Again] = Put) -> Put | Again:
    """An element with a hostile value, mostly of its own VR."""
    keyword = draw(keywords())
    return make(draw(places), keyword, *draw(values(keyword)))


@st.composite
def group_puts(draw: st.DrawFn) -> Put | Drop:
    """A functional group that is broken or missing."""
    group = draw(st.sampled_from(tuple(GROUPS)))
    where = Where(draw(st.integers(0, 2)), draw(st.none() | st.integers(0, 2)))
    shared = draw(st.booleans())
    owner = "SharedFunctionalGroupsSequence" if shared else "PerFrameFunctionalGroupsSequence"
    path: tuple[str | int, ...] = (owner, draw(st.integers(0, 9)))
    if draw(st.integers(0, 3)) == 0:
        return draw(
            st.one_of(
                st.just(Drop(where, group, path)),
                st.sampled_from(fitting("SQ")).map(lambda v: Put(where, group, "SQ", v, path)),
            )
        )
    keyword = draw(st.sampled_from(GROUPS[group]))
    return Put(where, keyword, *draw(values(keyword)), (*path, group, 0))


@st.composite
def values(draw: st.DrawFn, keyword: str) -> tuple[str, str]:
    """(VR, name of a value) for an attribute."""
    vr = dictionary_VR(tag_for_keyword(keyword) or 0).split(" or ")[0]
    if draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(VRS)), draw(st.sampled_from(tuple(VALUES)))
    return vr, draw(st.sampled_from(fitting(vr)))


places = st.builds(
    Where, st.none() | st.integers(0, 3), st.none() | st.integers(0, 9) | st.integers(0, 9)
)
single = st.builds(Where, st.integers(0, 3), st.integers(0, 9))
millionths = st.integers(0, 999_999)
starts = st.sampled_from((0, 0, 128, 340))
MUTATIONS: st.SearchStrategy[Mutation] = st.one_of(
    puts(),
    puts(),
    puts(),
    puts(Again),
    group_puts(),
    st.builds(Drop, places, keywords()),
    st.builds(Take, places, keywords(), single),
    st.builds(
        Take, single, st.sampled_from(("SOPInstanceUID", "SeriesInstanceUID", *GEOMETRY)), single
    ),
    st.builds(
        Meta,
        places,
        st.none()
        | st.sampled_from([str(uid) for uid in AllTransferSyntaxes])
        | st.sampled_from(("", "1.2", "letters", "1.2.840.10008.1.2.99")),
    ),
    st.builds(Halve, places),
    st.builds(Unwrap, places),
    st.builds(Merge, st.integers(0, 3), st.integers(0, 3)),
    # Two patients, and all slices of a series at one position.
    st.builds(Take, places, st.sampled_from(("ImagePositionPatient", "PatientID")), single),
    st.builds(Copy, places, st.integers(0, 3)),
    st.builds(Remove, places),
    st.builds(Bytes, places, millionths, st.none(), start=starts),
    st.builds(Bytes, places, millionths, st.integers(0, 64), st.binary(max_size=64), starts),
    st.builds(
        Bytes,
        places,
        millionths,
        st.integers(0, 64),
        st.sampled_from((b"\xff" * 64, b"\0" * 64, b"\xfe\xff\x00\xe0\xff\xff\xff\xff")),
        starts,
    ),
    st.builds(Flip, places, millionths, st.integers(0, 7)),
    st.builds(Flip, places, st.integers(0, 50_000), st.integers(0, 7)),
    st.sampled_from(tuple(FILES)).map(lambda name: Beside(name, FILES[name])),
    st.sampled_from(tuple(ODD)).map(Odd),
)

SERIES = (
    *((1, 2), (0, 1, 2), (0, 1), (1, 2), (0, 1, 2)),  # what the small networks can grade
    *((0, 2), (0,), (1,), (2,)),
)

CASES = st.builds(
    Case,
    kind=st.sampled_from(("classic", "classic", "classic", "enhanced", "enhanced", *KINDS)),
    series=st.sampled_from(SERIES),
    mutations=st.lists(MUTATIONS, min_size=1, max_size=3).map(tuple),
    # Not 0, which hypothesis draws most often: what is stored costs twice as much.
    stored=st.integers(0, 4).map(lambda n: n == 3),
    with_report=st.integers(0, 15).map(lambda n: n == 11),
)
