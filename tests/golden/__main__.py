"""Write `findings.json` again: `python -m tests.golden [FOLDER WITH REAL DATA]`.

It is refused while the findings changed and no version was raised, and without the folder after
a version was raised: the findings of the real studies would be those of the earlier version.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests import golden
from worker.approaches import load_bundle


def main() -> None:
    """Grade the phantoms, and the real studies where their folder is named."""
    bundle = load_bundle(device="cpu")
    studies = {name: golden.phantom_findings(name, bundle) for name in golden.PHANTOMS}
    for name in golden.REAL:
        if len(sys.argv) > 1:
            studies[name] = golden.study_findings(Path(sys.argv[1]) / name, bundle)
        else:
            studies[name] = golden.stored()["studies"][name]
    content = {"versions": golden.versions(bundle), "studies": studies}
    if problem := golden.refusal(golden.stored(), content, real=len(sys.argv) > 1):
        sys.exit(problem)
    golden.FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
