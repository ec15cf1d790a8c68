"""The assignment of studies to folds, and the check that a fold is usable."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from dicom_sr.findings import Severity
from worker.errors import BadSettings


def fold_of(study_id: str, folds: int) -> int:
    """The fold of a study: CRC-32 of its id modulo `folds`, for all data sets."""
    return zlib.crc32(study_id.encode()) % folds


def check_fold(
    what: str,
    fold: int,
    folds: int,
    studies: Sequence[str],
    grades: Mapping[str, Sequence[Severity | None]] | None = None,
) -> None:
    """Raise BadSettings where training on all other folds and evaluating on `fold` cannot work.

    `what` names the samples in the message. `studies` holds the study of each sample,
    `grades` the grade of each sample for every target (None where it has none). Both the
    fold and the rest must have samples, and each severity of every target.
    """
    if not 0 <= fold < folds or folds < 2:
        raise BadSettings(f"{what}: invalid fold {fold} of {folds}; use 0 to {folds - 1}")
    inside = [fold_of(study, folds) == fold for study in studies]
    for is_fold, part in (
        (True, f"fold {fold} of {folds}"),
        (False, f"all but fold {fold} of {folds}"),
    ):
        chosen = [i for i, here in enumerate(inside) if here is is_fold]
        if not chosen:
            raise BadSettings(
                f"{what}: {part} has no sample ({len(set(studies))} studies in total); "
                "add studies or use fewer folds"
            )
        for target, labels in (grades or {}).items():
            found = {labels[i] for i in chosen}
            if lacking := [severity.label for severity in Severity if severity not in found]:
                raise BadSettings(
                    f"{what}: {part} has no {' and no '.join(lacking)} {target} "
                    f"among {len(chosen)} samples; add studies or use fewer folds"
                )
