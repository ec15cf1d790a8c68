"""`python -m worker.cli`: the command without its entry point."""

import sys

from worker.cli import main

sys.exit(main())
