"""The tuned constants of the heatmap localiser."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from worker.models.seam import StrategyOptions, ascending

Score = Annotated[float, Field(ge=0, le=1)]
Millimetres = Annotated[float, Field(ge=0, le=200)]
PerLevel = tuple[Millimetres, Millimetres, Millimetres, Millimetres, Millimetres]
Offset = Annotated[float, Field(ge=-100, le=100)]
Spread = Annotated[float, Field(gt=0, le=100)]
Angle = Annotated[float, Field(ge=-180, le=180)]
Ratio = Annotated[float, Field(gt=0, le=10)]
Range = Annotated[tuple[Millimetres, Millimetres], AfterValidator(ascending)]


class HeatmapOptions(StrategyOptions):
    """When a point is accepted, and where structures lie relative to each other.

    Names ending in `_mm` are millimetres in the patient, scores are heatmap values in 0..1.
    Distances along a sagittal slice are (towards the back, towards the head).
    """

    # Peaks and the joint choice of five levels
    candidates: int = Field(default=4, ge=1, le=8, description="peaks considered for each level")
    min_score: Score = Field(default=0.05, description="a peak below this score is ignored")
    spacing_tolerance: float = Field(
        default=0.4,
        ge=0,
        le=2,
        description="log ratio by which neighbouring level spacings may differ",
    )
    spacing_penalty: float = Field(
        default=4.0,
        ge=0,
        le=100,
        description="score lost per unit of log ratio beyond the tolerance",
    )

    # Canal at each disc on sagittal T2
    own_slice_weight: Score = Field(
        default=0.5, description="weight of a level's own x against the line through all levels"
    )
    midline_min_confidence: Score = Field(
        default=0.5,
        description="an axial canal below this confidence does not move the sagittal slice",
    )

    # Whether the names of the levels are trusted
    clear_score: Score = Field(
        default=0.7, description="a level with at least this score is clearly seen"
    )
    clear_levels: int = Field(
        default=4, ge=1, le=5, description="fewer clear levels are not numbered"
    )
    shifted_share: float = Field(
        default=0.8, ge=0, le=10, description="highest score share of names shifted by one level"
    )
    named_total: Annotated[float, Field(ge=0, le=5)] = Field(
        default=3.2, description="total score of five discs and canal points that is enough on T2"
    )
    sacral_turn_deg: tuple[Angle, Angle] = Field(
        default=(-2.0, 24.0),
        description="turn of the chain of discs at L4/L5, to the back positive",
    )
    sacral_spacing: tuple[Ratio, Ratio] = Field(
        default=(0.85, 1.15), description="the last spacing of the discs, as a share of the median"
    )
    disagreeing_levels: int = Field(
        default=2,
        ge=1,
        le=5,
        description="levels named otherwise by T1 at which the numbering is refused",
    )
    same_place_cells: int = Field(
        default=2,
        ge=0,
        le=16,
        description="heatmap cells within which two peaks are the same place",
    )

    # Whether the headers turn the patient
    orientation_slices: int = Field(
        default=2, ge=1, le=32, description="slices looked at upside down and back to front"
    )
    turned_share: float = Field(
        default=0.97,
        ge=0,
        le=100,
        description="score of the turned picture, as a share of its own, that refuses a series",
    )

    # Neural foramina on sagittal T1
    foramen_offset_mm: tuple[Offset, Offset] = Field(
        default=(-5.0, 5.0),
        description="a foramen from the canal's middle at its disc (back, head)",
    )
    foramen_offset_sigma_mm: Spread = Field(default=9.0, description="spread of that offset")
    foramen_lateral_mm: PerLevel = Field(
        default=(15.0, 16.0, 17.0, 18.0, 19.0),
        description="distance of the foramina from the midline, L1/L2 first",
    )
    foramen_lateral_sigma_mm: Spread = Field(default=4.0, description="spread of that distance")
    foramen_lateral_range_mm: Range = Field(
        default=(6.0, 30.0), description="a foramen lies within these distances from the midline"
    )
    unlikely_slice_weight: Score = Field(
        default=0.5, description="weight of a slice far from where foramina usually lie"
    )
    between_sides_mm: Range = Field(
        default=(20.0, 55.0),
        description="distance between left and right foramina that shows a midline",
    )
    side_height_mm: Millimetres = Field(
        default=15.0, description="height within which both foramina of a level lie, without T2"
    )
    canal_from_foramina_mm: tuple[Offset, Offset] = Field(
        default=(5.0, -5.0),
        description="the canal from between its foramina, without T2 (back, head)",
    )

    # Canal and lateral recesses on axial T2
    recess_below_mm: Millimetres = Field(
        default=2.0, description="axial slices are chosen this far below the disc's middle"
    )
    max_plane_distance_mm: Millimetres = Field(
        default=5.0, description="an axial plane farther away does not show the level"
    )
    rank_penalty_mm: Millimetres = Field(
        default=2.0, description="a lower-ranked series must pass this much closer to be chosen"
    )
    max_in_plane_mm: Millimetres = Field(
        default=12.0,
        description="a canal farther from where sagittal T2 puts it is another structure",
    )
    span_mm: Range = Field(
        default=(10.0, 32.0),
        description="distance between the lateral recesses that a spine can have",
    )
    min_across: Score = Field(
        default=0.7, description="share of that distance that must run from right to left"
    )
    axial_window_mm: Annotated[float, Field(gt=0, le=300)] = Field(
        default=64.0, description="width of the window in which the canal is searched"
    )
    passes: int = Field(
        default=2, ge=1, le=5, description="searches, each around the canal found before"
    )
