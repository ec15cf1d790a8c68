"""The figures that the default models have to reach, and whether an evaluation does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from dicom_sr.findings import Condition
from worker.evaluation.labels import GRADE_METRICS, PICTURES, PLACES, POINT_METRICS, MetricFormat
from worker.evaluation.predictions import Weighting
from worker.evaluation.results import Estimate, Evaluation, Task


@dataclass(frozen=True)
class Verdict:
    """One figure against its bar; `met` is None where it cannot be judged, `remark` says why."""

    about: str
    name: str
    style: MetricFormat
    figure: Estimate
    bar: float
    at_most: bool
    met: bool | None
    remark: str = ""

    @property
    def bar_words(self) -> str:
        """The bar as people read it, such as `at most 0.500`."""
        return f"{'at most' if self.at_most else 'at least'} {self.style.value(self.bar)}"


GRADE_BARS: Final[Mapping[Condition, Mapping[str, float]]] = {
    Condition.NEURAL_FORAMINAL_NARROWING: {"weighted_log_loss": 0.50, "auc_severe": 0.95},
    Condition.SPINAL_CANAL_STENOSIS: {"weighted_log_loss": 0.38, "auc_severe": 0.96},
    Condition.SUBARTICULAR_STENOSIS: {"weighted_log_loss": 0.69, "auc_severe": 0.93},
}
ECE_BAR: Final = 0.02
POINT_BARS: Final[Mapping[Weighting, Mapping[str, float]]] = {
    Weighting.T1: {"median_error": 0.012, "study_right": 0.93}
}
AT_MOST: Final = frozenset({"weighted_log_loss", "ece_severe", "median_error"})


def verdicts(evaluation: Evaluation) -> tuple[Verdict, ...]:
    """Every figure that has a bar. Whole studies have none: theirs are for single pictures.

    A calibration error is judged only where the AUC bar is met: a model that says the same
    of everyone is calibrated, too.
    """
    if evaluation.task is Task.RSNA:
        return ()
    return (*_grades(evaluation), *_points(evaluation))


def _grades(evaluation: Evaluation) -> list[Verdict]:
    said = []
    for condition in Condition:
        group = evaluation.grade_group(condition)
        if group is None:
            continue
        judge = _judge(PLACES[condition], GRADE_METRICS, group.metrics)
        by_name = {name: judge(name, bar) for name, bar in GRADE_BARS[condition].items()}
        ece = judge("ece_severe", ECE_BAR)
        if not by_name["auc_severe"].met:
            ece = replace(ece, met=None, remark="judged only where the AUC bar is met")
        said += [*by_name.values(), ece]
    return said


def _points(evaluation: Evaluation) -> list[Verdict]:
    said = []
    for weighting, bars in POINT_BARS.items():
        group = evaluation.point_group(weighting)
        if group is not None:
            judge = _judge(PICTURES[weighting], POINT_METRICS, group.metrics)
            said += [judge(name, bar) for name, bar in bars.items()]
    return said


def _judge(
    about: str, styles: Mapping[str, MetricFormat], figures: Mapping[str, Estimate]
) -> Callable[[str, float], Verdict]:
    def judge(name: str, bar: float) -> Verdict:
        figure, at_most = figures[name], name in AT_MOST
        met = None
        if figure.value is not None:
            met = figure.value <= bar if at_most else figure.value >= bar
        return Verdict(about, name, styles[name], figure, bar, at_most, met)

    return judge
