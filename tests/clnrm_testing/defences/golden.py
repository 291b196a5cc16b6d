"""Files that outputs are compared with."""

from __future__ import annotations

import os

from clnrm_testing.defences import Defence
from pytest_clnrm.util.beneath import open_beneath

DEFENCES = (
    Defence(
        name="files to compare with are opened without following links",
        target="pytest_clnrm.runner.golden:open_beneath",
        without=lambda _: lambda _root, path: open_beneath("/", os.path.realpath(path)),
        attack="test_golden.py::test_a_file_that_leads_elsewhere",
        shows="IT WAS SHOWN",
    ),
    Defence(
        name="what is loaded on the host is not written",
        target="pytest_clnrm.runner.golden:GoldenFolder._check_harmless",
        without=lambda _: lambda self, path: None,
        attack="test_golden.py::test_a_file_that_is_loaded",
        shows="IT WAS WRITTEN",
    ),
)
