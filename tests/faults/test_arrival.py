"""The same images more than once, in parts, and many at once."""

import threading
import time

import pytest

from tests.support.faults import proxy


def test_the_same_study_three_times(servers, check):
    """Sent again after its report came, and once more: one report."""
    with servers.trial("the same study sent three times") as trial:
        study = servers.new_study()
        for _ in range(3):
            servers.send(trial, study)
            servers.wait_for_outcomes(trial)
            # Orthanc reports a study again only when an image is new to it.
            servers.delete(study.images[0][0])
        servers.send(trial, study)
        trial.ends()
    check()


def test_two_halves(servers, check):
    """The second half comes when the first has its report: that is revised, and one is current."""
    with servers.trial("in two halves 5 s apart") as trial:
        study = servers.new_study()
        first, second = study.halves()
        trial.sent.append(study)
        key = first.send(servers.client)
        time.sleep(5)
        servers.wait_for_event(key, "done")
        second.send(servers.client)
        trial.ends()
    check()


def test_the_second_half_comes_while_the_first_is_graded(servers, check):
    """What came meanwhile is looked at after that: the report is revised."""
    with servers.trial("the second half while the first is graded") as trial:
        study = servers.new_study()
        first, second = study.halves()
        trial.sent.append(study)
        with servers.proxy.doing(proxy.SLOW):
            key = first.send(servers.client)
            servers.wait_for_step(key, "localise")
            second.send(servers.client)
        trial.ends()
    check()


def test_two_senders_at_once(servers, check):
    """Two senders send the same images at the same time: one report."""
    with servers.trial("the same study by two senders at once") as trial:
        study = servers.new_study()
        trial.sent.append(study)

        def send() -> None:
            study.send(servers.client)

        senders = [threading.Thread(target=send) for _ in range(2)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        trial.ends()
    check()


@pytest.mark.slow
def test_twenty_at_once(servers, check):
    """Twenty studies that arrive together are graded once each."""
    with servers.trial("20 studies at once") as trial:
        for _ in range(20):
            servers.send(trial)
        trial.ends()
    check()
