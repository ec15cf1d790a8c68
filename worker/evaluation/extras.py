"""Lazy import of the libraries of the optional extra `train`."""

from __future__ import annotations

import importlib
from typing import Any

from worker.errors import BadSettings


def extra(module: str) -> Any:  # noqa: ANN401  a module without types
    """Import a module of the extra `train`; raise BadSettings saying how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise BadSettings(f"{name} is missing: pip install 'orthanc-lumbar[train]'") from error
