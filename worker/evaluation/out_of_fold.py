"""Out-of-fold prediction: a study is predicted only by members that were not trained on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from worker.datasets.folds import fold_of
from worker.evaluation.predictions import Provenance
from worker.models.bundle import Bundle

Members = tuple[int, ...]


class OfStudy(Protocol):
    """A row that belongs to a study."""

    @property
    def study_id(self) -> str:
        """The study's id in the data's own tables."""
        ...


Row = TypeVar("Row", bound=OfStudy)


def out_of_fold_members(bundle: Bundle, network: str, study_id: str) -> Members:
    """The members of a bundle's network that were not trained on a study.

    All of them for a study that is not among the training data, none where every member
    was trained on it.
    """
    entry = bundle.card.networks[network]
    if study_id not in bundle.studies:
        return tuple(range(len(entry.members)))
    fold = fold_of(study_id, entry.folds)
    return tuple(n for n, member in enumerate(entry.members) if member.held_out == fold)


def only(bundle: Bundle, members: Mapping[str, Members]) -> Bundle:
    """The same bundle with these members alone of the networks named."""
    return bundle.with_runner(bundle.runner.only(members))


def by_members(
    rows: Iterable[Row], bundle: Bundle, networks: Sequence[str]
) -> Iterator[tuple[Bundle, list[Row]]]:
    """The rows in groups, each with a bundle of members not trained on any of its studies.

    Rows of studies that every member of one of the networks was trained on are left out.
    """
    groups: dict[tuple[Members, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(out_of_fold_members(bundle, n, row.study_id) for n in networks)].append(row)
    for members, group in groups.items():
        if all(members):
            yield only(bundle, dict(zip(networks, members, strict=True))), group


def provenance(
    bundle: Bundle, networks: Sequence[str], study_ids: Iterable[str], problems: Iterable[str]
) -> Provenance:
    """How many of these studies were predicted out of fold, by all members, or left out."""
    studies = set(study_ids)
    unknown = {study for study in studies if study not in bundle.studies}
    left_out = {
        study
        for study in studies
        if not all(out_of_fold_members(bundle, n, study) for n in networks)
    }
    return Provenance(
        held_out=len(studies - unknown - left_out),
        unknown=len(unknown),
        left_out=len(left_out),
        problems=tuple(problems),
    )
