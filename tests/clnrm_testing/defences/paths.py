"""Paths that change, or lead elsewhere, after they were looked at; and what others wrote down."""

from __future__ import annotations

import importlib
import os

from clnrm_testing.defences import Defence

DEFENCES = (
    Defence(
        name="scenario files that lead out of rootdir are refused",
        target="pytest_clnrm.scenario.mounts:allowed_file",
        without=lambda _: lambda path, **_: os.path.realpath(path),
        attack="test_paths.py::test_linked_scenario_file",
        shows="DID NOT FAIL",
    ),
    Defence(
        name="only folders with our mark are removed",
        target="pytest_clnrm.cleanup.run_folder:_is_marked",
        without=lambda _: lambda opened, session: True,
        attack="test_paths.py::test_forged_run_record",
        shows="DID NOT FAIL",
    ),
    Defence(
        name="a writable volume holds no other source",
        target="pytest_clnrm.runner.volumes:shared_with",
        without=lambda _: lambda *_: "",
        attack="test_paths.py::test_rearranged_volume",
        shows="DID NOT FAIL",
    ),
    Defence(
        name="sources are opened again without following links",
        target="pytest_clnrm.pool.sources:open_sources",
        without=lambda _: lambda service: importlib.import_module("pytest_clnrm.pool.sources").Sources(),
        attack="test_paths.py::test_volume_exchanged_after_collection",
        shows="DID NOT FAIL",
    ),
    Defence(
        name="what is mounted is what was opened",
        target="pytest_clnrm.pool.sources:Sources.check",
        without=lambda _: lambda self, engine, container: None,
        attack="test_paths.py::test_volume_exchanged_while_started",
        shows="DID NOT FAIL",
    ),
    Defence(
        name="what is left in writable volumes is looked through",
        target="pytest_clnrm.pool.sources:Sources.left",
        without=lambda _: lambda self, loaded: (),
        attack="test_paths.py::test_left_in_a_writable_volume",
        shows="DID NOT FAIL",
    ),
    Defence(
        name="volumes are read-only where no setting says otherwise",
        target="pytest_clnrm.scenario.mounts:_check_writable",
        without=lambda _: lambda real, rules: None,
        attack="test_paths.py::test_writable_volumes",
        shows="DID NOT FAIL",
    ),
    Defence(
        name="no volume shows the ledger",
        target="pytest_clnrm.scenario.mounts:check_volume",
        without=lambda _: lambda real, **_: None,
        attack="test_paths.py::test_volume_of_the_ledger",
        shows="DID NOT FAIL",
    ),
)
