"""The acceptance criteria of the default models, and whether an evaluation meets them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from dicom_sr.findings import Condition
from worker.evaluation.labels import GRADE_METRICS, IMAGES, PLACES, POINT_METRICS, MetricFormat
from worker.evaluation.predictions import SagittalWeighting
from worker.evaluation.results import Estimate, Evaluation, Task


@dataclass(frozen=True)
class AcceptanceResult:
    """One metric and its acceptance limit.

    `group` names the condition or the images, `met` is None where the criterion does not apply
    and `remark` then gives the reason.
    """

    group: str
    metric: str
    style: MetricFormat
    estimate: Estimate
    limit: float
    at_most: bool
    met: bool | None
    remark: str = ""

    @property
    def criterion(self) -> str:
        """The criterion as text, such as `at most 0.500`."""
        return f"{'at most' if self.at_most else 'at least'} {self.style.value(self.limit)}"


GRADE_LIMITS: Final[Mapping[Condition, Mapping[str, float]]] = {
    Condition.NEURAL_FORAMINAL_NARROWING: {"weighted_log_loss": 0.50, "auc_severe": 0.95},
    Condition.SPINAL_CANAL_STENOSIS: {"weighted_log_loss": 0.38, "auc_severe": 0.96},
    Condition.SUBARTICULAR_STENOSIS: {"weighted_log_loss": 0.69, "auc_severe": 0.93},
}
ECE_LIMIT: Final = 0.02
POINT_LIMITS: Final[Mapping[SagittalWeighting, Mapping[str, float]]] = {
    SagittalWeighting.T1: {"median_error": 0.012, "study_right": 0.93}
}
AT_MOST: Final = frozenset({"weighted_log_loss", "ece_severe", "median_error"})


def acceptance_results(evaluation: Evaluation) -> tuple[AcceptanceResult, ...]:
    """The result of every acceptance criterion; whole studies have none.

    The limits apply to single images at marked points. The limit of the calibration error
    applies only where the AUC criterion is met: a constant prediction is calibrated, too.
    """
    if evaluation.task is Task.RSNA:
        return ()
    return (*_grade_results(evaluation), *_point_results(evaluation))


def _grade_results(evaluation: Evaluation) -> list[AcceptanceResult]:
    results = []
    for condition in Condition:
        group = evaluation.grade_group(condition)
        if group is None:
            continue
        check = _check(PLACES[condition], GRADE_METRICS, group.metrics)
        by_name = {name: check(name, limit) for name, limit in GRADE_LIMITS[condition].items()}
        ece = check("ece_severe", ECE_LIMIT)
        if not by_name["auc_severe"].met:
            ece = replace(ece, met=None, remark="applies only if the AUC criterion is met")
        results += [*by_name.values(), ece]
    return results


def _point_results(evaluation: Evaluation) -> list[AcceptanceResult]:
    results = []
    for weighting, limits in POINT_LIMITS.items():
        group = evaluation.point_group(weighting)
        if group is not None:
            check = _check(IMAGES[weighting], POINT_METRICS, group.metrics)
            results += [check(name, limit) for name, limit in limits.items()]
    return results


def _check(
    group: str, styles: Mapping[str, MetricFormat], metrics: Mapping[str, Estimate]
) -> Callable[[str, float], AcceptanceResult]:
    def check(name: str, limit: float) -> AcceptanceResult:
        estimate, at_most = metrics[name], name in AT_MOST
        met = None
        if estimate.value is not None:
            met = estimate.value <= limit if at_most else estimate.value >= limit
        return AcceptanceResult(group, name, styles[name], estimate, limit, at_most, met)

    return check
