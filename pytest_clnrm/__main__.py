"""``python -m pytest_clnrm``: look at all runs on this host, sweep after dead ones, import Compose files."""

from __future__ import annotations

import sys

from pytest_clnrm.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
