"""No study is predicted by a member that learnt from it."""

from dataclasses import dataclass, replace

import pytest

from tests.support.bundles import NETWORKS
from worker.datasets.folds import fold_of
from worker.evaluation.out_of_fold import by_members, only, out_of_fold_members, provenance
from worker.models.studies import training_studies


@dataclass(frozen=True)
class Row:
    """A row that belongs to a study."""

    study_id: str
    name: str


LEARNT = tuple(f"study{n}" for n in range(30))
UNKNOWN = ("new1", "new2")
STUDIES = LEARNT + UNKNOWN


@pytest.fixture
def bundle(untrained):
    """The untrained bundle, as if it had learnt from thirty studies."""
    return replace(untrained, studies=training_studies(LEARNT))


def with_members(bundle, network: str, count: int):
    """The same with the first members of one network alone."""
    entry = bundle.card.networks[network]
    fewer = entry.model_copy(update={"members": entry.members[:count]})
    card = bundle.card.model_copy(update={"networks": {**bundle.card.networks, network: fewer}})
    return replace(bundle, card=card, runner=bundle.runner.only({network: range(count)}))


def held_out(bundle, network: str) -> list[int]:
    """The folds that the members of a network were kept from."""
    return [member.held_out for member in bundle.card.networks[network].members]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_study_is_predicted_by_the_member_of_its_fold_alone(bundle, network) -> None:
    """Whatever the network's number of folds; nobody where no member was kept from it."""
    folds, kept = bundle.card.networks[network].folds, held_out(bundle, network)
    for study in LEARNT:
        own = fold_of(study, folds)
        chosen = [kept[n] for n in out_of_fold_members(bundle, network, study)]
        assert chosen == ([own] if own in kept else [])


@pytest.mark.parametrize("network", NETWORKS)
def test_an_unknown_study_is_predicted_by_all(bundle, network) -> None:
    """None of them has seen it."""
    every = tuple(range(len(bundle.runner.networks[network])))
    assert all(out_of_fold_members(bundle, network, study) == every for study in UNKNOWN)


def test_only_these_members_are_left(bundle) -> None:
    """The named network keeps the member asked for, every other network all of its own."""
    able = only(bundle, {"axial_grades": (1,)})
    assert able.runner.networks["axial_grades"] == (bundle.runner.networks["axial_grades"][1],)
    assert able.runner.networks["foraminal_grades"] == bundle.runner.networks["foraminal_grades"]
    assert len(bundle.runner.networks["axial_grades"]) == 3


def test_rows_are_grouped_by_who_may_predict_them(bundle) -> None:
    """Each row comes once, in its order, with exactly the members that have not seen it."""
    network = "foraminal_grades"
    rows = [Row(study, f"{study}.{n}") for n in range(2) for study in STUDIES]
    groups = list(by_members(rows, bundle, (network,)))
    assert sorted(r.name for _, group in groups for r in group) == sorted(r.name for r in rows)
    for able, group in groups:
        assert group == [row for row in rows if row in group]
        for row in group:
            expected = tuple(
                bundle.runner.networks[network][n]
                for n in out_of_fold_members(bundle, network, row.study_id)
            )
            assert able.runner.networks[network] == expected


def test_a_study_seen_by_all_is_left_out_and_counted(bundle) -> None:
    """With the first of three members alone, two thirds of what was learnt cannot be judged."""
    network = "foraminal_grades"
    one = with_members(bundle, network, 1)
    unseen = {s for s in LEARNT if fold_of(s, 3) == held_out(one, network)[0]}
    assert 0 < len(unseen) < len(LEARNT)
    rows = [Row(study, study) for study in STUDIES]
    told = {row.study_id for _, group in by_members(rows, one, (network,)) for row in group}
    assert told == unseen | set(UNKNOWN)
    source = provenance(one, (network,), [*STUDIES, *STUDIES], ["a problem"])
    assert (source.held_out, source.unknown) == (len(unseen), len(UNKNOWN))
    assert source.left_out == len(LEARNT) - len(unseen)
    assert source.problems == ("a problem",)


def test_every_network_that_speaks_must_not_have_seen_the_study(bundle) -> None:
    """Of a whole pipeline, one network that has seen the study is enough to leave it out."""
    rows = [Row(study, study) for study in STUDIES]
    groups = list(by_members(rows, bundle, NETWORKS))
    for able, group in groups:
        for row in group:
            for network in NETWORKS:
                chosen = out_of_fold_members(bundle, network, row.study_id)
                assert chosen
                assert len(able.runner.networks[network]) == len(chosen)
    told = {row.study_id for _, group in groups for row in group}
    assert told < set(STUDIES)
    source = provenance(bundle, NETWORKS, STUDIES, ())
    assert source.held_out + source.unknown == len(told)
    assert source.held_out + source.unknown + source.left_out == len(STUDIES)


def test_the_untrained_bundle_has_learnt_from_one_study(untrained) -> None:
    """The fixture that other tests rely on: one known study, and everything else unknown."""
    assert len(out_of_fold_members(untrained, "foraminal_grades", "learnt")) == 1
    assert len(out_of_fold_members(untrained, "foraminal_grades", "another")) == 3
