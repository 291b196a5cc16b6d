"""``python -m pytest_clnrm``: the command line, as ``clnrm``."""

from __future__ import annotations

import sys

from pytest_clnrm.cli.main import main

if __name__ == "__main__":
    sys.exit(main(program="python -m pytest_clnrm"))
