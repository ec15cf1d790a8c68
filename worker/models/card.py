"""A bundle's card: what the bundle is made of, and what identifies its results."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dicom_sr import uids
from dicom_sr.findings import TARGET_SETS, BundleIdentity, Condition
from worker.errors import BundleMismatch, BundleMissing
from worker.models.validation import explain

DEFAULT: Final = Path(__file__).parent / "default"
CARD: Final = "card.toml"
SCHEMA: Final = 2
"""The schema of the cards that this version reads and writes."""

_SHA256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Text = Annotated[str, Field(pattern=r"^[!-\[\]-}]([ -\[\]-}]{0,62}[!-\[\]-}])?$")]
"""1 to 64 plain characters: what value representation LO keeps as it is (DICOM PS3.5 6.2)."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class ApproachEntry(_Table):
    """Which approach the networks serve, and its options where they are not the defaults."""

    name: str
    version: int = Field(ge=1)
    options: dict[str, Any] = {}


class Member(_Table):
    """One member of a network; `held_out` is the fold that it was not trained on."""

    file: str = Field(pattern=r"^[A-Za-z0-9_.-]+\.safetensors$")
    sha256: _SHA256
    held_out: int = Field(ge=0)


class PlattScaling(_Table):
    """A logistic curve over the logit of a point's score: the probability that it is right."""

    slope: float = Field(default=1.0, allow_inf_nan=False)
    offset: float = Field(default=0.0, allow_inf_nan=False)


class NetworkEntry(_Table):
    """One network: its architecture, the names of its outputs, and its fold members."""

    architecture: str
    kwargs: dict[str, Any] = {}
    heads: tuple[str, ...] = Field(min_length=1)
    folds: int = Field(ge=2)
    members: tuple[Member, ...] = Field(min_length=1)
    platt_scaling: PlattScaling | None = None

    @model_validator(mode="after")
    def _folds_exist(self) -> Self:
        for member in self.members:
            if member.held_out >= self.folds:
                raise ValueError(f"there is no fold {member.held_out} of {self.folds}")
        return self


class CalibrationEntry(_Table):
    """How posteriors of one condition are calibrated."""

    temperature: float = Field(default=1.0, gt=0.05, lt=20)


class DecisionEntry(_Table):
    """How grades of one condition are decided.

    Below this probability of the most probable grade the target is not assessed.
    """

    abstain_below: float = Field(default=0.0, ge=0, lt=1)


class StudiesEntry(_Table):
    """The file with the hashes of the studies that were trained on."""

    file: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    sha256: _SHA256
    count: int = Field(ge=0)


class Card(_Table):
    """Everything that a bundle is, but for the weights themselves.

    `figures` is what was measured, by condition or task.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    name: _Text
    version: _Text
    licence: str = ""
    target_set: str
    approach: ApproachEntry
    networks: dict[str, NetworkEntry]
    calibration: dict[Condition, CalibrationEntry]
    decision: dict[Condition, DecisionEntry]
    training_studies: StudiesEntry
    figures: dict[str, Any] = {}

    @model_validator(mode="after")
    def _conditions_are_there(self) -> Self:
        if self.target_set not in TARGET_SETS:
            known = ", ".join(TARGET_SETS)
            raise ValueError(f"unknown target set {self.target_set!r}: known are {known}")
        for condition in {target.condition for target in TARGET_SETS[self.target_set]}:
            for name in ("calibration", "decision"):
                if condition not in getattr(self, name):
                    raise ValueError(f"{name}.{condition} is missing")
        return self

    def identified_content(self, approach: Mapping[str, Any]) -> dict[str, Any]:
        """What identifies the results, as JSON types: all but licence, studies and figures.

        `approach` holds name, version and resolved options of the approach that runs.
        """
        content = self.model_dump(mode="json", by_alias=True)
        for name in ("licence", "training_studies", "figures"):
            del content[name]
        return content | {"approach": dict(approach)}


def identity_of(card: Card, approach: Mapping[str, Any]) -> BundleIdentity:
    """The identity that a report carries.

    The SHA-256, and with it the Device UID, covers weights, approach, resolved options,
    calibration and decision. `approach` is what `Card.identified_content` takes.
    """
    content = json.dumps(card.identified_content(approach), sort_keys=True)
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    return BundleIdentity(card.name, card.version, sha256, uids.device_uid(sha256))


def read_card(folder: Path | None = None) -> Card:
    """Read a bundle's card (the packaged one's when `folder` is None) without its weights.

    Raises `BundleMissing` when there is none, `BundleMismatch` when it cannot be used.
    """
    folder = folder or DEFAULT
    path = folder / CARD
    if not path.is_file():
        raise BundleMissing(f"no model bundle at {folder}: it has no {CARD}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BundleMismatch(f"{path} is not valid TOML: {error}") from error
    schema = content.get("schema", 1)
    if schema != SCHEMA:
        later = isinstance(schema, int) and schema > SCHEMA
        remedy = "install a newer Orthanc Lumbar" if later else "train it again with this version"
        raise BundleMismatch(
            f"{path} has card schema {schema}; this version reads schema {SCHEMA}: {remedy}"
        )
    try:
        return Card.model_validate(content)
    except ValidationError as error:
        raise BundleMismatch(f"{path} cannot be used: {explain(error, Card)}") from error


def write_card(card: Card, folder: Path) -> None:
    """Write a card as TOML; entries at their default are written too."""
    content = card.model_dump(mode="json", by_alias=True, exclude_none=True)
    (folder / CARD).write_text(tomli_w.dumps(content), encoding="utf-8")


def checked_file(
    folder: Path, name: str, sha256: str, remedy: str = "reinstall the bundle"
) -> Path:
    """The path of a file whose SHA-256 is as expected; `remedy` is what to do where it is not.

    Raises `BundleMissing` when it is not there, `BundleMismatch` for another content.
    """
    path = folder / name
    if not path.is_file():
        raise BundleMissing(f"{path} is missing: {remedy}")
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual != sha256:
        raise BundleMismatch(
            f"{path} has SHA-256 {actual[:12]}..., expected {sha256[:12]}...: {remedy}"
        )
    return path
