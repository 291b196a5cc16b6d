"""Files of containers that are kept on this host."""

from __future__ import annotations

from clnrm_testing.defences import Defence

DEFENCES = (
    Defence(
        name="what is kept of a scenario is bounded",
        target="pytest_clnrm.runner.artifacts:fitting",
        without=lambda _: lambda piece, _left_bytes: piece,
        attack="test_artifacts.py::test_without_end_and_with_a_secret",
        shows="KEPT 83",
    ),
    Defence(
        name="secrets in files that are kept are masked",
        target="pytest_clnrm.runner.artifacts:masked",
        without=lambda _: lambda pieces, *_: pieces,
        attack="test_artifacts.py::test_without_end_and_with_a_secret",
        shows="KEPT password is hunter2",
    ),
    Defence(
        name="names that something here loads are changed",
        target="pytest_clnrm.runner.artifacts:host_names",
        without=lambda _: lambda path, *_: path.strip("/").split("/"),
        attack="test_artifacts.py::test_code_for_the_next_run[pytest alone]",
        shows="RAN ",
    ),
    Defence(
        name="pytest collects nothing that a container has left",
        target="pytest_clnrm.session.lazy:LazyWiring.pytest_ignore_collect",
        without=lambda _: lambda self, collection_path: None,
        attack="test_artifacts.py::test_code_for_the_next_run[doctest]",
        shows="RAN ",
    ),
)
