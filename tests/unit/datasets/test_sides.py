"""Left and right on their own sides of the patient."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_sr.findings import Level, Side
from worker.datasets.sides import SidedPosition, contradictions


def study(apart: dict[Level, float], middle: float = 0) -> list[SidedPosition]:
    """A point on each side of every level, `apart` from each other."""
    return [
        SidedPosition("study", level, side, middle + (d / 2 if side is Side.LEFT else -d / 2))
        for level, d in apart.items()
        for side in Side
    ]


@given(st.floats(-50, 50), st.lists(st.floats(1, 40), min_size=5, max_size=5))
def test_sides_in_order_never_contradict(middle: float, distances: list[float]) -> None:
    """Wherever the patient lies, left points to the left of right ones raise no doubt."""
    apart = dict(zip(Level, distances, strict=True))
    assert not contradictions(study(apart, middle), leftward=True)


@given(st.lists(st.floats(1, 40), min_size=5, max_size=5))
def test_slices_may_run_either_way(distances: list[float]) -> None:
    """Reversing the order of slices changes nothing; reversing patient x condemns all."""
    swapped = {level: -d for level, d in zip(Level, distances, strict=True)}
    assert not contradictions(study(swapped), leftward=False)
    assert contradictions(study(swapped), leftward=True) == {"study": frozenset(Level)}


@pytest.mark.parametrize("leftward", [True, False])
def test_one_level_against_the_others_falls_alone(leftward: bool) -> None:
    """A single swapped level is left out, the others stay."""
    apart = dict.fromkeys(Level, 30.0) | {Level.L5_S1: -30.0}
    assert contradictions(study(apart), leftward=leftward) == {"study": {Level.L5_S1}}


@pytest.mark.parametrize("leftward", [True, False])
def test_both_sides_on_one_slice_contradict(leftward: bool) -> None:
    """Left and right foramina cannot be seen on the same sagittal slice."""
    assert contradictions(study(dict.fromkeys(Level, 0.0)), leftward=leftward) == {
        "study": frozenset(Level)
    }


def test_half_of_the_levels_condemn_the_rest() -> None:
    """Where as many levels contradict as agree, none is believed, lone sides included."""
    places = study({Level.L1_L2: 30, Level.L2_L3: -30})
    lone = SidedPosition("study", Level.L3_L4, Side.LEFT, 15)
    assert Level.L3_L4 in contradictions([*places, lone], leftward=True)["study"]


def test_a_lone_side_cannot_be_judged() -> None:
    """Without its counterpart a point raises no doubt."""
    lone = [SidedPosition("study", level, Side.LEFT, -15) for level in Level]
    assert not contradictions(lone, leftward=True)
