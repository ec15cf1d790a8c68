"""Several workers, and several messages about one study."""

from harness import order


def test_two_workers(hospital, check):
    """Two workers that are told of the same studies at the same time write one report of each."""
    with (
        hospital.second_worker() as second,
        hospital.trial("two workers at once, each study announced four times") as trial,
    ):
        keys = [hospital.send(trial) for _ in range(4)]
        for _ in range(3):
            for key in keys:
                order(hospital, key)
        trial.ends()
        hospital.wait_for_outcomes(trial)
        assert '"graded"' in second.said(), "the second worker had nothing to do"
    check()
