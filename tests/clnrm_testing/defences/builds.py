"""What a build may take, reach and read, and what its image's labels are worth."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from clnrm_testing.defences import Defence

THROUGH = "DID NOT FAIL"


def _followed(_root: str, path: str) -> Any:
    from pytest_clnrm.util.beneath import Opened

    fd = os.open(path, os.O_PATH)
    return Opened(fd, os.fstat(fd), path)


DEFENCES = (
    Defence(
        name="commands of a build have a limit of memory",
        target="pytest_clnrm.engine.docker.builds:_limits",
        without=lambda _: lambda _spec: {},
        attack="test_builds.py::test_a_build_takes_memory",
        shows=THROUGH,
    ),
    Defence(
        name="commands of a build have a limit of processes",
        target="pytest_clnrm.engine.docker.builds:limit_processes",
        without=lambda _: lambda *_: None,
        attack="test_builds.py::test_a_build_takes_processes",
        shows=THROUGH,
    ),
    Defence(
        name="a build is stopped at its time",
        target="pytest_clnrm.engine.docker.builds:_Build.run",
        without=lambda run: lambda build, archive, deadline_s: run(build, archive, deadline_s + 60),
        attack="test_builds.py::test_a_build_takes_time",
        shows=THROUGH,
    ),
    Defence(
        name="a build has no network",
        target="pytest_clnrm.runner.launch:_build_spec",
        without=lambda made: lambda *args: replace(made(*args), network="bridge"),
        attack="test_builds.py::test_a_build_reaches_a_network",
        shows=THROUGH,
    ),
    Defence(
        name="the engine fetches nothing for a build",
        target="pytest_clnrm.engine.docker.dockerfiles:problem_of_dockerfile",
        without=lambda _: lambda _content, _args: "",
        attack="test_builds.py::test_a_build_makes_the_engine_fetch",
        shows=THROUGH,
    ),
    Defence(
        name="the engine fetches nothing for a base image",
        target="pytest_clnrm.engine.docker.fetching:fetched_by_engine",
        without=lambda _: lambda _told: "",
        attack="test_builds.py::test_a_base_image_makes_the_engine_fetch",
        shows=THROUGH,
    ),
    Defence(
        name="a file names no image by its id",
        target="pytest_clnrm.scenario.format.service_rules:check_reference",
        without=lambda _: lambda *_: (),
        attack="test_builds.py::test_an_image_by_its_id",
        shows=THROUGH,
    ),
    Defence(
        name="a build names no image by its id",
        target="pytest_clnrm.engine.docker.dockerfiles:_may_be_id",
        without=lambda _: lambda *_: False,
        attack="test_builds.py::test_a_build_from_an_id",
        shows=THROUGH,
    ),
    Defence(
        name="a context is opened without following links",
        target="pytest_clnrm.util.beneath:open_beneath",
        without=lambda _: _followed,
        attack="test_builds.py::test_a_context_leads_out",
        shows=THROUGH,
    ),
    Defence(
        name="a context is bounded",
        target="pytest_clnrm.engine.docker.build_context:_Writer._grow",
        without=lambda _: lambda _writer, _more: None,
        attack="test_builds.py::test_a_context_is_large",
        shows=THROUGH,
    ),
    Defence(
        name="labels alone make no container ours",
        target="pytest_clnrm.cleanup.labels:is_made_here",
        without=lambda _: lambda _subject: True,
        attack="test_builds.py::test_labels_of_an_image",
        shows=THROUGH,
    ),
)
