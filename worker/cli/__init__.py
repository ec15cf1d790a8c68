"""The command `lumbar`: a thin shell, one function per verb.

What is heavy to import (torch, highdicom, celery) is imported within its verb, so that
`lumbar --help` answers at once.
"""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, cast

import typer

from worker import __version__

# The verbs enter themselves into the application when they are imported.
from worker.cli import evaluation as _evaluation  # noqa: F401
from worker.cli import failures as _failures  # noqa: F401
from worker.cli import operations as _operations  # noqa: F401
from worker.cli import reports as _reports  # noqa: F401
from worker.cli import studies as _studies  # noqa: F401
from worker.cli import tools as _tools  # noqa: F401
from worker.cli import training as _training  # noqa: F401
from worker.cli.shell import app
from worker.errors import LumbarError, Transient

EXIT_REFUSED: Final = 2
EXIT_BROKEN: Final = 70
"""EX_SOFTWARE of sysexits.h."""
EXIT_RETRY: Final = 75
"""EX_TEMPFAIL of sysexits.h."""
EXIT_INTERRUPTED: Final = 130

# Typer may carry a click of its own: its usage errors are reached through the one it exports.
_UsageError = cast(type[Exception], typer.BadParameter.__base__)


@dataclass
class _Options:
    """What stands before the verb; filled in while the command line is read."""

    debug: bool = False


@app.callback(invoke_without_command=True)
def lumbar(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole trace of an unexpected error.")
    ] = False,
) -> None:
    """Read the options before the verb."""
    context.ensure_object(_Options).debug = debug
    if not debug:
        # Their texts may quote header values, and those may be a person's.
        warnings.simplefilter("ignore")
        logging.getLogger("pydicom").setLevel(logging.CRITICAL)
        logging.getLogger("highdicom").setLevel(logging.CRITICAL)
    if version:
        typer.echo(f"lumbar {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; every error is one line on stderr.

    0 done, 2 refused (bad usage, bad settings, a study that cannot be graded), 75 try
    again later, 70 a defect of ours.
    """
    options = _Options()
    try:
        code = app(
            args=None if arguments is None else list(arguments),
            prog_name="lumbar",
            standalone_mode=False,
            obj=options,
        )
    except _UsageError as error:
        return _say(cast(typer.BadParameter, error).format_message(), EXIT_REFUSED)
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", EXIT_INTERRUPTED)
    except Transient as error:
        return _say(str(error), EXIT_RETRY)
    except LumbarError as error:
        return _say(str(error), EXIT_REFUSED)
    except Exception as error:  # noqa: BLE001  a user gets one line, whatever went wrong
        if options.debug:
            traceback.print_exc()
        # The message of an unforeseen error may quote a header: its type is enough.
        name = type(error).__name__
        return _say(f"unexpected {name}; `lumbar --debug ...` shows where", EXIT_BROKEN)
    return code if isinstance(code, int) else 0


def _say(message: str, code: int) -> int:
    print(f"lumbar: {' '.join(message.split())}", file=sys.stderr)
    return code
