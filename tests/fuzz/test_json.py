"""Headers that archives send as JSON, broken at random: routed or rejected, never a traceback."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread

from tests.support.fuzzing.originals import original
from tests.support.fuzzing.outcome import no_patient_data
from worker.archive.dicomweb_json import header_from_json
from worker.archive.orthanc_tags import header_from_tags
from worker.domain.study import Instance
from worker.errors import Rejected
from worker.intake.headers import read_study
from worker.intake.routing import route

MAKERS = {"DICOMweb": header_from_json, "Orthanc": header_from_tags}


@dataclass(frozen=True)
class Deep:
    """Sequences within sequences: too deep to be printed, so made where they are used."""

    levels: int

    def value(self, form: str) -> Any:
        """The value of an attribute, as a form writes it."""
        value: Any = []
        for _ in range(self.levels):
            value = {"vr": "SQ", "Value": value} if form == "DICOMweb" else value
            value = [{"0040A730" if form == "DICOMweb" else "0040,A730": value}]
        return {"vr": "SQ", "Value": value} if form == "DICOMweb" else value


NAMES = st.sampled_from(
    ["0020,0037", "00200037", "0028,0030", "00280030", "0028,0010", "00280010", "0008,0018",
     "00080018", "0008,0005", "00080005", "0010,0010", "00100010", "0018,0081", "00180081",
     "5200,9230", "52009230", "0028,0008", "00280008", "0020,0013", "00200013", "0008,0060",
     "00080060", "7fe0,0010", "0009,1001", "0020,000d", "0020000D", "", "x", "0020", "0020,00zz"]
)  # fmt: skip
SCALARS = st.sampled_from(
    ["", "NaN", "1e400", "-1", "0\\0", "1\\0\\0\\1\\0\\0", "abc", "1.2.x", "\\" * 20, "9" * 5000,
     "Müller", "\x00", "\ud800", "A" * 65536, None, True, 0, -1, 2**70, 1.5, float("nan"),
     float("inf")]
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=7)
        | st.dictionaries(NAMES, inner, max_size=2)
        | st.fixed_dictionaries({"vr": st.sampled_from(["SQ", "DS", "PN", 5]), "Value": inner})
        | st.fixed_dictionaries({"Alphabetic": inner})
    ),
    max_leaves=8,
) | st.sampled_from([Deep(3), Deep(100), Deep(300), Deep(900)])
MUTATIONS = st.lists(
    st.tuples(st.integers(-1, 14), NAMES, st.sampled_from(["whole", "Value", "drop"]), VALUES),
    max_size=5,
)


@cache
def plain(form: str) -> tuple[dict[str, Any], ...]:
    """The headers of the phantom as an archive tells them."""
    every = [dcmread(BytesIO(f), stop_before_pixels=True) for s in original("classic") for f in s]
    return tuple(
        header.to_json_dict() if form == "DICOMweb" else short_tags(header) for header in every
    )


@cache
def made(form: str, number: int) -> Dataset:
    """One of these headers, read as it is told; to read all of them takes half of the time."""
    return MAKERS[form](plain(form)[number])


def short_tags(header: Dataset) -> dict[str, Any]:
    """What Orthanc answers to `?short`."""
    return {
        f"{e.tag.group:04x},{e.tag.element:04x}": "\\".join(map(str, e.value))
        if e.VM > 1
        else str(e.value)
        for e in header
    }


@pytest.mark.parametrize("form", MAKERS)
@settings(max_examples=60, derandomize=True, deadline=None)
@given(MUTATIONS)
@example([(0, "0040,A730", "whole", Deep(300)), (1, "0040A730", "whole", Deep(300))])
def test_whatever_an_archive_tells(form: str, mutations: list[tuple[int, str, str, Any]]) -> None:
    """Every series is decided on, or the study rejected; no message names the patient."""
    told = dict(enumerate(plain(form)))
    broken: dict[int, dict[str, Any]] = {}
    for number, name, how, drawn in mutations:
        value = drawn.value(form) if isinstance(drawn, Deep) else drawn
        for n in told if number < 0 else [number]:
            tags = broken.setdefault(n, dict(told[n]))
            if how == "drop":
                tags.pop(name, None)
            elif how == "Value" and isinstance(tags.get(name), dict):
                tags[name] = {**tags[name], "Value": value}
            else:
                tags[name] = value
    with no_patient_data() as texts:
        headers = [MAKERS[form](broken[n]) if n in broken else made(form, n) for n in told]
        instances = [Instance(str(n), header) for n, header in enumerate(headers)]
        try:
            routed = route(read_study(instances))
        except Rejected as error:
            texts.append(repr(error))
        else:
            assert len(routed.decisions) == len(routed.study.series)
            assert all(decision.reason for decision in routed.decisions)
