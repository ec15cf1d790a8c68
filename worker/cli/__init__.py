"""The command `lumbar`: one function per subcommand.

Heavy libraries (torch, highdicom, celery) are imported inside the subcommands, so that
`lumbar --help` is fast.
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

# Importing these modules registers their subcommands.
from worker.cli import evaluation as _evaluation  # noqa: F401
from worker.cli import failures as _failures  # noqa: F401
from worker.cli import operations as _operations  # noqa: F401
from worker.cli import reports as _reports  # noqa: F401
from worker.cli import studies as _studies  # noqa: F401
from worker.cli import tools as _tools  # noqa: F401
from worker.cli import training as _training  # noqa: F401
from worker.cli.shell import app
from worker.errors import LumbarError, Transient
from worker.threads import wait_passively

EXIT_REFUSED: Final = 2
EXIT_INTERNAL: Final = 70
"""EX_SOFTWARE of sysexits.h."""
EXIT_RETRY: Final = 75
"""EX_TEMPFAIL of sysexits.h."""
EXIT_INTERRUPTED: Final = 130

# Typer may carry a click of its own: its usage errors are reached through the one it exports.
_UsageError = cast(type[Exception], typer.BadParameter.__base__)


@dataclass
class _Options:
    """The options before the subcommand; set while the command line is parsed."""

    debug: bool = False


@app.callback(invoke_without_command=True)
def lumbar(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of an unexpected error.")
    ] = False,
) -> None:
    """Parse the options before the subcommand."""
    context.ensure_object(_Options).debug = debug
    if not debug:
        # Their messages may quote header values, which may identify a patient.
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

    0: success. 2: wrong usage, wrong settings, or a study that cannot be graded. 70: internal
    error. 75: temporary failure, try again later.
    """
    wait_passively()  # before a subcommand imports torch
    options = _Options()
    try:
        code = app(
            args=None if arguments is None else list(arguments),
            prog_name="lumbar",
            standalone_mode=False,
            obj=options,
        )
    except _UsageError as error:
        return _print_error(cast(typer.BadParameter, error).format_message(), EXIT_REFUSED)
    except (KeyboardInterrupt, typer.Abort):
        return _print_error("interrupted", EXIT_INTERRUPTED)
    except Transient as error:
        return _print_error(str(error), EXIT_RETRY)
    except LumbarError as error:
        return _print_error(str(error), EXIT_REFUSED)
    except Exception as error:  # noqa: BLE001  every error is one line on stderr
        if options.debug:
            traceback.print_exc()
        # The message of an unexpected error may quote a header, so only its type is printed.
        name = type(error).__name__
        return _print_error(
            f"internal error: {name}; run `lumbar --debug ...` for the traceback", EXIT_INTERNAL
        )
    return code if isinstance(code, int) else 0


def _print_error(message: str, code: int) -> int:
    print(f"lumbar: {' '.join(message.split())}", file=sys.stderr)
    return code
