"""Runs one case again, as it was printed, and shows how it ends: a program, the case on its input.

    PYTHONPATH=$PWD:tests/helpers python -m fuzzing.again <<'END'
    Case(kind='classic', series=(0, 1, 2), mutations=())
    END

With a folder as its argument it leaves the broken files there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.fuzzing import cases, mutations
from tests.support.fuzzing.judge import broken, judge
from tests.support.fuzzing.networks import small_bundle

if __name__ == "__main__":
    case = eval(sys.stdin.read(), vars(mutations) | vars(cases))
    if sys.argv[1:]:
        place = Path(sys.argv[1])
        place.mkdir(parents=True)
        broken(case).write(place)
    sys.stdout.write(judge(case, small_bundle()) + "\n")
