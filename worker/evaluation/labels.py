"""Labels and number formats of metrics for the terminal, the page and the plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dicom_sr.findings import Condition, Level
from worker.evaluation.predictions import Provenance, SagittalWeighting
from worker.evaluation.results import Estimate, Task

UNDEFINED: Final = "-"


@dataclass(frozen=True)
class MetricFormat:
    """A metric's label, a short one for narrow columns, and the format of its values."""

    label: str
    short: str
    scale: float = 1.0
    decimals: int = 3
    unit: str = ""

    def value(self, number: float | None) -> str:
        """One value as text; `UNDEFINED` for None."""
        if number is None:
            return UNDEFINED
        return f"{number * self.scale:.{self.decimals}f}{self.unit}"

    def bound(self, number: float | None) -> str:
        """One end of an interval without its unit; empty for None."""
        return "" if number is None else f"{number * self.scale:.{self.decimals}f}"

    def interval(self, estimate: Estimate) -> str:
        """The 95 % interval, such as `0.412 to 0.447`; empty without one."""
        if estimate.low is None or estimate.high is None:
            return ""
        return f"{self.bound(estimate.low)} to {self.bound(estimate.high)}{self.unit}"


def _percent(label: str, short: str, decimals: int = 1) -> MetricFormat:
    return MetricFormat(label, short, 100, decimals, " %")


GRADE_METRICS: Final[Mapping[str, MetricFormat]] = {
    "weighted_log_loss": MetricFormat("weighted log loss", "loss"),
    "constant_log_loss": MetricFormat("best constant's log loss", "constant"),
    "auc_severe": MetricFormat("AUC severe", "AUC sev."),
    "auc_moderate_or_worse": MetricFormat("AUC moderate or worse", "AUC mod.+"),
    "sensitivity_severe": _percent("sensitivity for severe at 95 % specificity", "sens."),
    "accuracy": _percent("accuracy", "acc."),
    "balanced_accuracy": _percent("balanced accuracy", "bal. acc."),
    "linear_kappa": MetricFormat("linear kappa", "kappa"),
    "ece_severe": MetricFormat("calibration error of severe", "ECE sev.", decimals=4),
    "ece_top": MetricFormat("calibration error of the decision", "ECE top", decimals=4),
}

POINT_METRICS: Final[Mapping[str, MetricFormat]] = {
    "found": _percent("found", "found"),
    "right": _percent("right (within 4 % of the width)", "right"),
    "level_right": _percent("nearest found level is the marked one", "level"),
    "study_right": _percent("studies with every marked point right", "studies"),
    "median_error": _percent("median error, of the width", "median", 2),
    "mean_error": _percent("mean error, of the width", "mean", 2),
    "p90_error": _percent("90th percentile of the error, of the width", "90th", 2),
    "median_error_mm": MetricFormat("median error", "median mm", decimals=1, unit=" mm"),
    "mean_error_mm": MetricFormat("mean error", "mean mm", decimals=1, unit=" mm"),
    "p90_error_mm": MetricFormat("90th percentile of the error", "90th mm", decimals=1, unit=" mm"),
    "ap": MetricFormat("AP at IoU 0.50:0.95", "AP"),
    "ar": MetricFormat("AR at IoU 0.50:0.95", "AR"),
}

COMPETITION: Final = MetricFormat("weighted log loss", "loss")

PLACES: Final[Mapping[Condition, str]] = {
    Condition.SPINAL_CANAL_STENOSIS: "Spinal canal",
    Condition.NEURAL_FORAMINAL_NARROWING: "Neural foramina",
    Condition.SUBARTICULAR_STENOSIS: "Subarticular recesses",
}

IMAGES: Final[Mapping[SagittalWeighting, str]] = {
    SagittalWeighting.T1: "Points on sagittal T1",
    SagittalWeighting.T2: "Points on sagittal T2",
}

TITLES: Final[Mapping[Task, str]] = {
    Task.FORAMINAL: "Neural foraminal grades on sagittal T1",
    Task.AXIAL: "Canal and subarticular grades on axial T2",
    Task.LEVELS: "Disc levels on sagittal slices",
    Task.RSNA: "Whole studies, graded by the whole pipeline",
}


def level_label(level: Level | None) -> str:
    """The name of a level, or "all levels" for None."""
    return "all levels" if level is None else level.value


def provenance_sentence(provenance: Provenance) -> str:
    """Which studies were predicted by which networks, as one sentence."""
    parts = [
        f"{_studies(provenance.held_out)} of the training data, each predicted only by the "
        "networks that were not trained on it"
        if provenance.held_out
        else "",
        f"{_studies(provenance.unknown)} that no network was trained on, predicted by all"
        if provenance.unknown
        else "",
        f"{_studies(provenance.left_out)} that every network was trained on, left out"
        if provenance.left_out
        else "",
    ]
    return ("; ".join(filter(None, parts)) or "no study was predicted") + "."


def problems_sentence(problems: int) -> str:
    """The number of unusable rows as a sentence; empty for none."""
    if not problems:
        return ""
    return f"{problems:,} row{'' if problems == 1 else 's'} could not be used."


def _studies(n: int) -> str:
    return f"{n:,} {'study' if n == 1 else 'studies'}"
