"""Our resource names the process, and the pipeline where CI tells of it."""

from __future__ import annotations

import os

import pytest

from pytest_clnrm.telemetry.record.resource import resource_attributes


def test_the_process() -> None:
    """Each process has its own instance of one service."""
    first, second = resource_attributes("gw0", {}), resource_attributes("gw0", {})
    assert first["service.instance.id"] != second["service.instance.id"]
    del first["service.instance.id"]
    assert first == {"service.name": "pytest-clnrm", "clnrm.worker.id": "gw0", "process.pid": os.getpid()}


GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_WORKFLOW": "CI",
    "GITHUB_RUN_ID": "12",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "o/r",
    "GITHUB_REPOSITORY_OWNER": "o",
    "GITHUB_REF": "refs/pull/7/merge",
    "GITHUB_REF_NAME": "7/merge",
    "GITHUB_HEAD_REF": "feature",
    "GITHUB_BASE_REF": "main",
    "GITHUB_SHA": "abc",
}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            GITHUB,
            {
                "cicd.pipeline.name": "CI",
                "cicd.pipeline.run.id": "12",
                "cicd.pipeline.run.url.full": "https://github.com/o/r/actions/runs/12",
                "vcs.provider.name": "github",
                "vcs.repository.name": "r",
                "vcs.repository.url.full": "https://github.com/o/r",
                "vcs.owner.name": "o",
                "vcs.change.id": "7",
                "vcs.ref.head.name": "feature",
                "vcs.ref.base.name": "main",
                "vcs.ref.head.revision": "abc",
            },
        ),
        ({"GITHUB_ACTIONS": "true"}, {"vcs.provider.name": "github"}),
        (
            {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "o/r", "GITHUB_SERVER_URL": "https://x"},
            {
                "vcs.provider.name": "github",
                "vcs.repository.name": "r",
                "vcs.repository.url.full": "https://x/o/r",
            },
        ),
        (
            {"GITLAB_CI": "true", "CI_JOB_NAME": "test", "CI_COMMIT_SHA": "abc", "CI_COMMIT_TAG": "v1"},
            {
                "cicd.pipeline.task.name": "test",
                "vcs.ref.head.revision": "abc",
                "vcs.ref.head.type": "tag",
            },
        ),
        (
            {"GITLAB_CI": "true", "CI_COMMIT_SHA": "abc"},
            {"vcs.ref.head.revision": "abc", "vcs.ref.head.type": "branch"},
        ),
        (
            {"JENKINS_URL": "http://j", "JOB_NAME": "build", "GIT_URL": "https://me:secret@host/r.git"},
            {"cicd.pipeline.name": "build", "vcs.repository.url.full": "https://host/r.git"},
        ),
        ({"JENKINS_URL": "http://j", "GIT_URL": "https://[bad"}, {"vcs.repository.url.full": ""}),
    ],
)
def test_ci_systems(environ: dict[str, str], expected: dict[str, str]) -> None:
    """What a CI system tells is named by the semantic conventions, without credentials."""
    found = resource_attributes("master", environ)
    assert {name: value for name, value in found.items() if name.startswith(("cicd.", "vcs."))} == expected
