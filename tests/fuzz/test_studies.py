"""Studies broken at random end as they may: graded, not assessed, or rejected with a reason.

Each runner is a process of its own, watched from outside: a hang of ten seconds, a crash of
the interpreter, two gigabytes, a traceback or a word about the patient fails the test, and
the message says how to see the case again.
"""

from __future__ import annotations

import os
import sys

import pytest

from tests.support.fuzzing.values import MARKS
from tests.support.fuzzing.watch import CaseFailed, runner, watch

SEEDS = (0, 1)
CASES_OF_A_SEED = int(os.environ.get("LUMBAR_FUZZ_CASES", "100"))
"""More by `make fuzz`."""
CASES_WITH_SHIPPED_BUNDLE = 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_broken_study_ends_as_none_may() -> None:
    """200 cases go the whole way with small networks, and every end is an allowed one."""
    tally = watch(*(runner("--seed", str(seed), "--cases", str(CASES_OF_A_SEED)) for seed in SEEDS))
    print(f"\n{tally}")
    assert tally.ends.total() >= len(SEEDS) * CASES_OF_A_SEED
    # Were all refused at the door, nothing behind it would have been tried.
    assert tally.ends["graded"] > tally.ends.total() / 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nor_does_one_with_the_shipped_bundle() -> None:
    """The same with the networks that ship, on fewer cases."""
    tally = watch(runner("--shipped", "--seed", "2", "--cases", str(CASES_WITH_SHIPPED_BUNDLE)))
    print(f"\n{tally}")
    assert tally.ends.total() >= CASES_WITH_SHIPPED_BUNDLE


PREAMBLE = "import json, os, sys, time\ndef send(**m): print(json.dumps(m), flush=True)\n"
BEGUN = PREAMBLE + 'send(begun="Case(7)")\n'


@pytest.mark.parametrize(
    ("program", "what"),
    [
        (BEGUN + "while True: pass", "took too long"),
        (BEGUN + "time.sleep(600)", "took too long"),
        (BEGUN + 'send(ended="graded", seconds=3.0, peak_mb=1)', "took 3.0 s"),
        (BEGUN + "os.abort()", "ended its process with -6"),
        (BEGUN + 'send(ended="graded", seconds=0.1, peak_mb=4096)', "needed 4096 MB"),
        (BEGUN + 'send(failed="Traceback")', "Traceback"),
        (f"import sys\nsys.stderr.write({MARKS[0]!r})", "names the patient"),
    ],
    ids=["hang", "sleep", "slow", "crash", "memory", "traceback", "patient"],
)
def test_the_watch_sees(program: str, what: str) -> None:
    """What a case may not do is found out, whichever of two runners does it."""
    harmless = [sys.executable, "-c", BEGUN + 'send(ended="graded", seconds=0.1, peak_mb=1)']
    with pytest.raises(CaseFailed, match=what) as found:
        watch(harmless, [sys.executable, "-c", program], deadline_s=0.5)
    if what.startswith(("took", "ended", "needed")):
        assert "Case(7)" in str(found.value)
