"""What is wrong with a card, an option or a recipe, in one line that says what to write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from worker.models.registry import unknown

_OUT_OF_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_CUSTOM = "value_error"


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Every fault as `place: message`, separated by semicolons.

    An unknown key lists the known ones, nearest first; a number out of range names its limits.
    """
    return "; ".join(_fault(fault, model) for fault in error.errors())


def _fault(fault: Any, model: type[BaseModel]) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    place: Sequence[str | int] = fault["loc"]
    where = ".".join(map(str, place))
    message = str(fault["msg"])
    if fault["type"] == "extra_forbidden":
        owner = _model_at(model, place[:-1])
        if owner is not None:
            where = ".".join(map(str, place[:-1]))
            message = unknown("option", str(place[-1]), _keys(owner))
    elif fault["type"] in _OUT_OF_RANGE:
        limits = _limits(model, place)
        if limits:
            message = f"{fault['input']} is out of range: {limits}"
    elif fault["type"] == _CUSTOM:
        message = message.removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _field(model: type[BaseModel], key: str | int) -> FieldInfo | None:
    for name, field in model.model_fields.items():
        if key in (name, field.alias):
            return field
    return None


def _model_at(model: type[BaseModel], place: Sequence[str | int]) -> type[BaseModel] | None:
    """The model that validates what stands at a place; None where it cannot be told."""
    for key in place:
        field = _field(model, key)
        if field is None:
            continue  # an index or a key of a mapping: the field's type names the model
        inner = [
            one
            for one in (field.annotation, *_all_arguments(field.annotation))
            if isinstance(one, type) and issubclass(one, BaseModel)
        ]
        if not inner:
            return None
        model = inner[0]
    return model


def _all_arguments(annotation: object) -> list[object]:
    found: list[object] = []
    for argument in get_args(annotation):
        found += [argument, *_all_arguments(argument)]
    return found


def _limits(model: type[BaseModel], place: Sequence[str | int]) -> str:
    """The limits of the number at a place, such as `at least 0, at most 1`."""
    names = [n for n, key in enumerate(place) if isinstance(key, str)]
    if not names:
        return ""
    last = names[-1]
    owner = _model_at(model, place[:last])
    field = None if owner is None else _field(owner, place[last])
    if field is None:
        return ""
    nested = [
        constraint
        for argument in _all_arguments(field.annotation)
        if isinstance(argument, FieldInfo)
        for constraint in argument.metadata
    ]
    words = {}
    for constraint in [*field.metadata, *nested]:
        match constraint:
            case annotated_types.Ge(ge=bound):
                words["low"] = f"at least {bound}"
            case annotated_types.Gt(gt=bound):
                words["low"] = f"more than {bound}"
            case annotated_types.Le(le=bound):
                words["high"] = f"at most {bound}"
            case annotated_types.Lt(lt=bound):
                words["high"] = f"less than {bound}"
    return ", ".join(words[end] for end in ("low", "high") if end in words)
