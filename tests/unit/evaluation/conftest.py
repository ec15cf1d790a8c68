"""Made-up predictions of a grader and a detector, with known truth."""

import numpy as np
import pytest

from dicom_sr.findings import Condition, Level, Probabilities, Severity, Target
from worker.evaluation.predictions import (
    GradePrediction,
    GradeSheet,
    PointPrediction,
    PointSheet,
    Provenance,
    SagittalWeighting,
)

PREVALENCE = np.array([0.7, 0.2, 0.1])


def made_up_grades(conditions=tuple(Condition), studies=30, seed=0, problems=()):
    """A sheet of imperfect but useful grades: one row for each target of each study."""
    rng = np.random.default_rng(seed)
    rows = []
    for study in range(studies):
        for condition in conditions:
            for side in condition.sides:
                for level in Level:
                    truth = int(rng.choice(3, p=PREVALENCE))
                    logits = np.log(PREVALENCE) - abs(np.arange(3) - truth) + rng.normal(0, 0.5, 3)
                    shares = np.exp(logits) / np.exp(logits).sum()
                    rows.append(
                        GradePrediction(
                            study_id=f"study{study}",
                            file=f"{study}_{level.name}.png",
                            target=Target(condition, level, side),
                            posterior=Probabilities(*shares),
                            truth=list(Severity)[truth],
                        )
                    )
    return GradeSheet(tuple(rows), Provenance(studies, 0, 0, tuple(problems)))


def made_up_points(studies=20, seed=0, weighting=SagittalWeighting.T1):
    """A sheet of points within a few percent of their marks, some missing, some unmarked."""
    rng = np.random.default_rng(seed)
    rows = []
    for study in range(studies):
        for picture in range(2):
            for k, level in enumerate(Level):
                mark = (0.5, 0.1 + 0.2 * k)
                off = rng.normal(0, 0.015, 2)
                rows.append(
                    PointPrediction(
                        study_id=f"study{study}",
                        file=f"{study}_{picture}.png",
                        weighting=weighting,
                        level=level,
                        found=None if rng.random() < 0.1 else (mark[0] + off[0], mark[1] + off[1]),
                        confidence=float(rng.random()),
                        truth=None if rng.random() < 0.3 else mark,
                        aspect=1.2,
                        width_mm=250.0,
                    )
                )
    return PointSheet(tuple(rows), Provenance(studies, 0, 0))


@pytest.fixture(scope="session")
def grades():
    """`made_up_grades`."""
    return made_up_grades


@pytest.fixture(scope="session")
def points():
    """`made_up_points`."""
    return made_up_points
