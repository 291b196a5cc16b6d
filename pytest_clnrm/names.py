"""Names under which tests, plugins, processes and rooms find what is ours.

Every pytest run of the environment imports this module: it imports nothing but pytest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

LIMITS_MARKER = "clnrm_limits"
"""The marker by which a Python test reserves containers."""
RETRY_MARKER = "clnrm_retry"
"""The marker by which a Python test says how often it is tried again when it fails."""
PRIORITY_MARKER = "clnrm_priority"
"""The marker by which a test says its priority."""
MARKERS = frozenset({LIMITS_MARKER, RETRY_MARKER, PRIORITY_MARKER})
"""All of ours."""
PRIORITY_ATTRIBUTE = "clnrm_priority"
"""The attribute by which an item of ours says its priority."""
FIXTURES = frozenset({"clnrm", "clnrm_factory", "clnrm_shared"})

project_markers_key = pytest.StashKey[tuple[str, ...]]()
"""The markers that the project's own configuration registers, line by line. A tag may be one of them."""
python_tests_key = pytest.StashKey[Callable[[], Any]]()
"""Where the configuration holds what returns this process's PythonTests, made at the first call."""

WORKER_INPUT = "clnrm"
"""The key in ``workerinput`` of what a worker is told of its run."""
RUN_FOLDER = "clnrm_run_folder"
"""The key in ``workerinput`` of the run's folder, where our queue may feed the worker."""
ALWAYS_PARKS = "clnrm_always_parks"
"""The key in ``workerinput`` that says whether our queue feeds the worker whatever it collects."""
PACKED_REPORT = "clnrm_packed"
"""The key of what a worker sends of a test report as one value."""
FACTS_FILE = "facts.json"
"""The file in the run's folder that says what is out of the ordinary; empty if nothing is."""

CRASHED = "???"
"""What xdist calls the phase of an item whose worker died."""

sizes_key = pytest.StashKey[Callable[[], Any]]()
"""Where the configuration holds what returns node id -> service -> bytes, with ``--clnrm-right-size``."""

together_key = pytest.StashKey[str]()
"""Where an item holds what its neighbours that share a worker hold too; without it that is its file."""

ARTIFACTS_FOLDER = "artifacts"
"""Where kept files of containers lie, below the folder of the report or what stands for it."""
ARTIFACTS_MARK = ".clnrm-artifacts"
"""A file by which that folder is known as ours: what is in it is a program's, and is not collected."""

QUARANTINE_FILE = ".clnrm/quarantine.toml"
"""The list of tests whose failures do not count for a time, below rootdir."""
RUN_ENDS = "ends"
"""A file in the run's folder that is there once the controller waits for its workers' ends alone."""
