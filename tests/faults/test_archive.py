"""An archive that dies, and one that answers what it should not."""

import pytest

from tests.support.faults import proxy


def test_orthanc_dies_before_the_study_is_stable(hospital, check):
    """Orthanc forgets which studies were about to become stable; the reconciler finds them."""
    with hospital.trial("Orthanc killed inside StableAge") as trial:
        hospital.send(trial)
        hospital.orthanc.process.kill()
        hospital.orthanc.process.restart()
        trial.ends()
    check()


@pytest.mark.parametrize("step", ["store", "read back"])
def test_orthanc_dies_while_a_report_is_stored(step, hospital, check):
    """Whether Orthanc had taken the report or not when it died: there is one when it is back."""
    with hospital.trial(f"Orthanc killed: {step}") as trial:
        with hospital.proxy.doing(proxy.SLOW):
            study = hospital.send(trial)
            hospital.wait_for_step(study, step)
            hospital.orthanc.process.kill()
        hospital.wait_for_event(study, "archive unavailable", "retry scheduled")
        hospital.orthanc.process.restart()
        trial.ends()
    check()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("the archive answers 503", proxy.UNAVAILABLE),
        ("the archive does not answer in time", proxy.HANGING),
        ("the archive sends half of each body", proxy.HALF_A_BODY),
        ("the archive says 200 and stores nothing", proxy.STORES_NOTHING),
    ],
)
def test_the_archive_answers_wrongly(name, fault, hospital, check):
    """A study that met the fault waits, and is graded once when it is over."""
    with hospital.trial(name) as trial:
        with hospital.proxy.doing(fault):
            study = hospital.send(trial)
            hospital.wait_for_event(study, "archive unavailable", "retry scheduled")
        trial.ends()
    check()


def test_the_archive_lets_nobody_in(hospital, check):
    """A password that is refused stops the worker, which says so; the study waits for the next."""
    with hospital.trial("the archive answers 401") as trial:
        with hospital.proxy.doing(proxy.NO_ENTRY):
            hospital.send(trial)
            hospital.worker.popen.wait(120)
        assert hospital.worker.popen.returncode not in (0, None)
        assert "LUMBAR_ORTHANC_PASSWORD" in hospital.worker.log_text()
        trial.ends()
    check()
