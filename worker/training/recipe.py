"""How one network is trained: a TOML file, checked before anything is read or fitted."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from worker.errors import BadSettings
from worker.models.card import DETECTORS
from worker.models.networks import DETECTORS as DETECTOR_ARCHITECTURES
from worker.models.networks import GRADERS as GRADER_ARCHITECTURES
from worker.training.augment import Geometry, Intensity

RECIPES: Final = Path(__file__).with_name("recipes")
IMAGENET: Final = "imagenet"
ORDER: Final = ("sagittal_points", "axial_points", "foraminal_grades", "axial_grades")
"""The order of a whole training: the axial grader starts from the foraminal one."""


class Recipe(BaseModel):
    """How one network is trained.

    `folds` groups the studies (crc32 of their id); `held_out` names the folds that get a
    member of their own which does not learn from them. `start` is "imagenet", "nothing",
    or the network whose encoder of the same fold is taken. `samples` is how many are drawn
    an epoch (all, by their shares, if 0), `rate` the highest learning rate, `decay` that of
    the averaged weights, `mixup` the parameter of its Beta distribution, `patience` the
    epochs without a better validation loss after which a run ends (0: it never does).
    `shares` is how often a source's samples are drawn, relative to the others'.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: Literal["sagittal_points", "axial_points", "foraminal_grades", "axial_grades"]
    architecture: str
    start: Literal["imagenet", "nothing", "foraminal_grades"] = IMAGENET
    folds: int = Field(ge=2)
    held_out: tuple[int, ...] = Field(min_length=1)
    epochs: int = Field(ge=1)
    samples: int = Field(default=0, ge=0)
    batch: int = Field(ge=2)
    rate: float = Field(gt=0)
    decay: float = Field(gt=0, lt=1)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    mixup: float = Field(default=0.0, ge=0)
    patience: int = Field(default=0, ge=0)
    seed: int = 0
    phantoms: int = Field(default=240, ge=0)
    first_phantom: int = 100_000
    """Far from the seeds that tests and demos use."""
    shares: dict[str, float] = {}
    geometry: Geometry = Geometry()
    intensity: Intensity = Intensity()

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        known = DETECTOR_ARCHITECTURES if self.is_detector else GRADER_ARCHITECTURES
        if self.architecture not in known:
            raise ValueError(f"architecture must be one of {', '.join(known)}")
        if wrong := [fold for fold in self.held_out if not 0 <= fold < self.folds]:
            raise ValueError(f"held_out names fold {wrong[0]} of {self.folds}, counted from 0")
        if self.start == "foraminal_grades" and self.network != "axial_grades":
            raise ValueError("only axial_grades can start from foraminal_grades")
        if self.network == "axial_grades" and self.architecture.endswith("_neighbours"):
            raise ValueError("axial_grades looks at one slice: use grades_lite0")
        if self.is_detector and self.mixup:
            raise ValueError("mixup is for graders: a mixed point is nowhere")
        return self

    @property
    def is_detector(self) -> bool:
        """Whether it finds points rather than grades crops."""
        return self.network in DETECTORS


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; raises `BadSettings` that names what is wrong in which file."""
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{path} is no recipe: {error}") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in error.errors()
        )
        raise BadSettings(f"{path} is no recipe: {faults}") from error


def read_recipes(folder: Path | None = None) -> dict[str, Recipe]:
    """The recipes of a whole bundle, in the order in which they are trained.

    A folder may hold some of them; the packaged ones stand in for the others.
    """
    recipes = {}
    for name in ORDER:
        own = folder / f"{name}.toml" if folder else None
        path = own if own is not None and own.is_file() else RECIPES / f"{name}.toml"
        recipes[name] = read_recipe(path)
        if recipes[name].network != name:
            raise BadSettings(f"{path} is the recipe of {recipes[name].network}, not of {name}")
    return recipes
