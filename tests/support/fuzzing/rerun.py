"""Runs one printed case again and prints its outcome; the case is read from standard input.

    python -m tests.support.fuzzing.rerun <<'END'
    Case(kind='classic', series=(0, 1, 2), mutations=())
    END

With a folder as its argument it writes the broken files there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.fuzzing import cases, mutations
from tests.support.fuzzing.networks import small_bundle
from tests.support.fuzzing.outcome import broken, run_case

if __name__ == "__main__":
    case = eval(sys.stdin.read(), vars(mutations) | vars(cases))
    if sys.argv[1:]:
        place = Path(sys.argv[1])
        place.mkdir(parents=True)
        broken(case).write(place)
    sys.stdout.write(run_case(case, small_bundle()) + "\n")
