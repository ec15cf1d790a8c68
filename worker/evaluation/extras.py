"""Libraries of the optional extra `train`: imported when needed, named when absent."""

from __future__ import annotations

import importlib
from typing import Any

from worker.errors import BadSettings


def extra(module: str) -> Any:  # noqa: ANN401  a module without types, whichever was asked for
    """Import a module of the extra `train`; raise BadSettings saying how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise BadSettings(f"{name} is missing: pip install 'orthanc-lumbar[train]'") from error
