"""Last of all: what comes late may come twice."""


def test_at_the_end_everything_is_there_once(hospital):
    """When all faults are over, no study of any of them is lost or graded twice."""
    hospital.heal()
    rows = [hospital.row(trial) for trial in hospital.trials]
    assert not [row for row in rows if row.count.lost or row.count.duplicated]
