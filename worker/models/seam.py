"""The seam for models: volumes in, one prediction or one reason per target out.

Everything published for this task has that shape. An approach that works in two stages is made
of a localiser and a grader; any localiser combines with any grader. A detector without stages
or a segmentation model is an approach of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from dicom_sr.findings import Condition, NotAssessedReason, Probabilities, Target
from worker.domain.located import Located
from worker.domain.predictions import HeatMap, Prediction
from worker.domain.study import Role
from worker.domain.volume import Volumes

IMAGENET: Final = "imagenet"
"""A start: the encoder begins with ImageNet weights."""
SCRATCH: Final = "scratch"
"""A start: the weights begin at random."""


Created = TypeVar("Created", covariant=True)


class StrategyOptions(BaseModel):
    """The tuned constants of a strategy: every one has a default, a unit and limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def ascending(limits: tuple[float, float]) -> tuple[float, float]:
    """A lower and an upper limit; raises ValueError when they are not in that order."""
    low, high = limits
    if not low < high:
        raise ValueError(f"{low} to {high} is not a range: the lower limit comes first")
    return limits


class NetworkKind(StrEnum):
    """What a network puts out; training chooses its loss and its samples by it."""

    POINTS = "points"
    """One heatmap per head."""
    BOXES = "boxes"
    """Boxes with a class per head."""
    GRADES = "grades"
    """Three severities per head."""
    CLASSES = "classes"
    """One class out of the heads."""
    MASKS = "masks"
    """One mask per head."""


@dataclass(frozen=True)
class NetworkSpec:
    """All that training and loading need to know about one network.

    `heads` names the outputs in their order; `input_shape` is (slices, height, width) in pixels;
    `samples` names the samples that it learns from. `start` is where its weights begin:
    `IMAGENET`, `SCRATCH`, or the name of another network of the same approach whose encoder is
    taken over. `mirror` names what a label becomes in the mirrored patient, where it changes.
    """

    kind: NetworkKind
    heads: tuple[str, ...]
    input_shape: tuple[int, int, int]
    samples: str
    start: str = SCRATCH
    mirror: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mirror", MappingProxyType(dict(self.mirror)))


class Runner(Protocol):
    """Runs the networks of one bundle by name."""

    def run(self, network: str, inputs: Tensor) -> Tensor:
        """The mean output of a network's members for inputs (batch, slices, height, width)."""
        ...

    def platt(self, network: str, score: float) -> float:
        """The probability that a point with this score is right, both 0..1 (Platt scaling)."""
        ...

    def step(self, name: str) -> AbstractContextManager[None]:
        """Report the body as a step of this name, for progress and timing."""
        ...


class Strategy(Protocol):
    """What approaches, localisers and graders have in common."""

    @property
    def name(self) -> str:
        """The name in the registry and on a bundle's card."""
        ...

    @property
    def version(self) -> int:
        """Raised whenever results can change."""
        ...

    @property
    def networks(self) -> Mapping[str, NetworkSpec]:
        """The networks that it runs, by name."""
        ...

    @property
    def options(self) -> StrategyOptions:
        """Its options, defaults included."""
        ...


class StrategyClass(Protocol[Created]):
    """A class as a registry holds it: it is created with its options.

    `Options` is the model of its options: every tuned constant, with its default and unit.
    """

    @property
    def name(self) -> str:
        """The name in the registry and on a bundle's card."""
        ...

    @property
    def version(self) -> int:
        """Raised whenever results can change."""
        ...

    @property
    def Options(self) -> type[StrategyOptions]:  # noqa: N802 - a class
        """The model of its options."""
        ...

    def __call__(self, options: Any, /) -> Created:  # noqa: ANN401 - of its own type
        """Create the strategy."""
        ...


class Localiser(Strategy, Protocol):
    """Stage 1: finds the structures of every target."""

    def locate(self, volumes: Volumes, run: Runner) -> Located:
        """Find them; what was not found has a reason."""
        ...


class Grader(Strategy, Protocol):
    """Stage 2: grades what stage 1 found."""

    @property
    def mirror_symmetric(self) -> bool:
        """Whether a mirrored patient gets the mirrored grades."""
        ...

    def grade(
        self, located: Located, volumes: Volumes, run: Runner
    ) -> Mapping[Target, Probabilities]:
        """Posteriors, not calibrated, for every target that has a site."""
        ...


class Approach(Strategy, Protocol):
    """A way from volumes to predictions."""

    @property
    def requires(self) -> Mapping[Condition, frozenset[Role]]:
        """The series without which a condition cannot be assessed at all."""
        ...

    @property
    def mirror_symmetric(self) -> bool:
        """Whether a mirrored patient gets the mirrored grades."""
        ...

    def predict(
        self, volumes: Volumes, run: Runner
    ) -> Mapping[Target, Prediction | NotAssessedReason]:
        """A prediction, or the reason why there is none, for every target."""
        ...


@runtime_checkable
class Explains(Protocol):
    """A grader that can show what its grades rest on."""

    def explain(self, located: Located, volumes: Volumes, run: Runner) -> Mapping[Target, HeatMap]:
        """A heat map for every target that has a site."""
        ...
