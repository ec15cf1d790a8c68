"""Ways from volumes to predictions: the registry, and the approach in two stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

from pydantic import SerializeAsAny, ValidationError, model_validator

from dicom_sr.findings import (
    TARGETS,
    BundleIdentity,
    Condition,
    NotAssessedReason,
    Probabilities,
    Target,
)
from worker.domain.located import Located
from worker.domain.predictions import Prediction
from worker.domain.study import Role
from worker.domain.volume import Volumes
from worker.grade import GRADERS
from worker.localise import LOCALISERS
from worker.models import bundle, inspection
from worker.models.bundle import Bundle
from worker.models.card import ApproachEntry
from worker.models.registry import find
from worker.models.seam import (
    Approach,
    Grader,
    Localiser,
    NetworkSpec,
    Runner,
    Strategy,
    StrategyClass,
    StrategyOptions,
)
from worker.models.validation import explain

LOCALISER_GROUP: Final = "orthanc_lumbar.localisers"
GRADER_GROUP: Final = "orthanc_lumbar.graders"
APPROACH_GROUP: Final = "orthanc_lumbar.approaches"
"""Entry points by which other installed packages offer strategies of their own."""


def _options(strategy: StrategyClass[Strategy], content: Any) -> StrategyOptions:  # noqa: ANN401
    if isinstance(content, strategy.Options):
        return content
    try:
        return strategy.Options.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{strategy.name}: {explain(error, strategy.Options)}") from error


class Stage(StrategyOptions):
    """A strategy of one stage: its name, its version, and all its options."""

    name: str
    version: int = 1
    options: SerializeAsAny[StrategyOptions]

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, content: Any) -> Any:  # noqa: ANN401 - whatever the card holds
        if not isinstance(content, Mapping) or "name" not in content:
            return content
        strategy = cls.strategy(str(content["name"]))
        version = content.get("version", 1)
        if not isinstance(version, int) or version < 1:
            raise ValueError(f"version {version!r} of {strategy.name} is not a number from 1 on")
        if version > strategy.version:
            raise ValueError(
                f"{strategy.name} has version {strategy.version} here, the card needs {version}: "
                "install a newer Orthanc Lumbar"
            )
        options = _options(strategy, content.get("options", {}))
        return {**content, "version": strategy.version, "options": options}

    @classmethod
    def strategy(cls, name: str) -> StrategyClass[Strategy]:
        """The class of a name; raises ValueError that lists the known ones."""
        raise NotImplementedError

    def create(self) -> Any:  # noqa: ANN401 - a localiser or a grader
        """The strategy with its options."""
        return self.strategy(self.name)(self.options)


class LocaliserStage(Stage):
    """The first stage."""

    @classmethod
    def strategy(cls, name: str) -> StrategyClass[Strategy]:
        """The localiser of a name; raises ValueError that lists the known ones."""
        return find("localiser", name, LOCALISERS, LOCALISER_GROUP)


class GraderStage(Stage):
    """The second stage."""

    @classmethod
    def strategy(cls, name: str) -> StrategyClass[Strategy]:
        """The grader of a name; raises ValueError that lists the known ones."""
        return find("grader", name, GRADERS, GRADER_GROUP)


class TwoStageOptions(StrategyOptions):
    """Which localiser and which grader; any two combine."""

    localiser: LocaliserStage = LocaliserStage.model_validate({"name": "heatmaps"})
    grader: GraderStage = GraderStage.model_validate({"name": "crops"})


class TwoStage:
    """Stage 1 finds the structures, stage 2 grades what lies there."""

    name: ClassVar[str] = "two_stage"
    version: ClassVar[int] = 1
    Options: ClassVar[type[TwoStageOptions]] = TwoStageOptions
    requires: ClassVar[Mapping[Condition, frozenset[Role]]] = MappingProxyType(
        {
            Condition.SPINAL_CANAL_STENOSIS: frozenset({Role.SAGITTAL_T2, Role.AXIAL_T2}),
            Condition.NEURAL_FORAMINAL_NARROWING: frozenset({Role.SAGITTAL_T1}),
            # Without sagittal T2 the axial slices are chosen where T1 puts the levels.
            Condition.SUBARTICULAR_STENOSIS: frozenset({Role.AXIAL_T2}),
        }
    )

    def __init__(self, options: TwoStageOptions) -> None:
        self.options = options
        self.localiser: Localiser = options.localiser.create()
        self.grader: Grader = options.grader.create()
        if shared := self.localiser.networks.keys() & self.grader.networks.keys():
            raise ValueError(
                f"{self.localiser.name} and {self.grader.name} both have networks named "
                f"{', '.join(sorted(shared))}: rename those of one"
            )

    @classmethod
    def of(cls, localiser: str, grader: str) -> Self:
        """The two strategies of these names with their default options."""
        stages = {"localiser": {"name": localiser}, "grader": {"name": grader}}
        return cls(TwoStageOptions.model_validate(stages))

    @property
    def networks(self) -> Mapping[str, NetworkSpec]:
        """The networks of both stages."""
        return {**self.localiser.networks, **self.grader.networks}

    @property
    def mirror_symmetric(self) -> bool:
        """Whether the grader promises mirrored grades for a mirrored patient."""
        return self.grader.mirror_symmetric

    def predict(
        self, volumes: Volumes, run: Runner
    ) -> Mapping[Target, Prediction | NotAssessedReason]:
        """Find the structures, grade them, and put both together for every target."""
        with run.step("localise"):
            located = self.localiser.locate(volumes, run)
        with run.step("grade"):
            grades = self.grader.grade(located, volumes, run)
        return {target: _answer(target, located, grades) for target in TARGETS}


def _answer(
    target: Target, located: Located, grades: Mapping[Target, Probabilities]
) -> Prediction | NotAssessedReason:
    site = located.site(target)
    if site is None:
        return located.reasons.get(target, NotAssessedReason.LEVEL_NOT_FOUND)
    return Prediction(grades[target], site.point, site.image, site.confidence)


APPROACHES: Final[dict[str, StrategyClass[Approach]]] = {
    TwoStage.name: TwoStage,
}
"""Every approach by its name; a new one is a file and a line here."""


def create_approach(entry: ApproachEntry) -> Approach:
    """The approach that a card names, with its options; raises ValueError that says what is wrong.

    An unknown name or option lists the known ones, nearest first.
    """
    approach = find("approach", entry.name, APPROACHES, APPROACH_GROUP)
    return approach(_options(approach, entry.options))


def load_bundle(folder: Path | None = None, device: str = "auto") -> Bundle:
    """Load a bundle; see `worker.models.bundle.load`."""
    return bundle.load(folder, device, create_approach)


def read_identity(folder: Path | None = None) -> BundleIdentity:
    """The identity of a bundle; see `worker.models.bundle.read_identity`."""
    return bundle.read_identity(folder, create_approach)


def inspect_bundle(folder: Path | None = None) -> inspection.InspectedBundle:
    """What a bundle is made of and whether it is intact; see `worker.models.inspection`."""
    return inspection.inspect(folder, create_approach)
