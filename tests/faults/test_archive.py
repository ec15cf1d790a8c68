"""An archive that dies, and one that responds wrongly."""

import pytest

from tests.support.faults import proxy


def test_orthanc_dies_before_the_study_is_stable(servers, check):
    """Orthanc forgets which studies were about to become stable; the reconciler finds them."""
    with servers.trial("Orthanc killed inside StableAge") as trial:
        servers.send(trial)
        servers.orthanc.process.kill()
        servers.orthanc.process.restart()
        trial.ends()
    check()


@pytest.mark.parametrize("step", ["store", "read back"])
def test_orthanc_dies_while_a_report_is_stored(step, servers, check):
    """Whether Orthanc had stored the report or not when it died: there is one afterwards."""
    with servers.trial(f"Orthanc killed: {step}") as trial:
        with servers.proxy.doing(proxy.SLOW):
            study = servers.send(trial)
            servers.wait_for_step(study, step)
            servers.orthanc.process.kill()
        servers.wait_for_event(study, "archive unavailable", "retry scheduled")
        servers.orthanc.process.restart()
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
def test_the_archive_responds_wrongly(name, fault, servers, check):
    """The study waits until the fault is over, and is graded once."""
    with servers.trial(name) as trial:
        with servers.proxy.doing(fault):
            study = servers.send(trial)
            servers.wait_for_event(study, "archive unavailable", "retry scheduled")
        trial.ends()
    check()


def test_the_archive_refuses_the_credentials(servers, check):
    """Refused credentials stop the worker, which logs why; the study waits for the next worker."""
    with servers.trial("the archive answers 401") as trial:
        with servers.proxy.doing(proxy.UNAUTHORIZED):
            servers.send(trial)
            servers.worker.popen.wait(120)
        assert servers.worker.popen.returncode not in (0, None)
        assert "LUMBAR_ORTHANC_PASSWORD" in servers.worker.log_text()
        trial.ends()
    check()
