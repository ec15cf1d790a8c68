"""Logs follow a study and carry no patient data."""

import json
import logging

import pytest
import structlog

from worker.service.logging import configure_logging
from worker.settings import LogFormat, Settings


@pytest.fixture
def logged(capfd):
    """Configure logging, run something, return what standard error got; undo it afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(log_format, action):
        configure_logging(Settings(_env_file=None, log_format=log_format))
        action()
        return capfd.readouterr().err

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def stumble() -> None:
    patient = "DOE^JANE"
    try:
        raise ValueError(f"cannot parse {patient}")
    except ValueError:
        structlog.stdlib.get_logger("ours").exception("ours failed")
        logging.getLogger("theirs").exception("theirs failed")


@pytest.mark.parametrize("log_format", LogFormat)
def test_exceptions_are_logged_by_type_and_place_alone(logged, log_format):
    """Neither the message nor a variable of a failed frame is logged, ours or a library's."""
    text = logged(log_format, stumble)
    assert text.count("ValueError") == 2
    assert "stumble" in text
    assert "DOE" not in text


def test_every_line_of_a_study_names_it(logged):
    """Lines of libraries within a study's block carry its id like our own."""

    def grade() -> None:
        with structlog.contextvars.bound_contextvars(study="s-1"):
            structlog.stdlib.get_logger("ours").info("step", step="route")
            logging.getLogger("theirs").info("hello")

    lines = [json.loads(line) for line in logged(LogFormat.JSON, grade).splitlines()]
    assert [line["event"] for line in lines] == ["step", "hello"]
    assert {line["study"] for line in lines} == {"s-1"}
