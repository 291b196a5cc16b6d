"""Who records: the attributes of our resource, by OpenTelemetry's semantic conventions."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from pytest_clnrm.model.span import AttributeValue

_SYSTEMS: Mapping[str, Mapping[str, str]] = {
    # The variable that tells the system, then attribute by attribute the variable that holds it.
    "GITHUB_ACTIONS": {
        "cicd.pipeline.name": "GITHUB_WORKFLOW",
        "cicd.pipeline.run.id": "GITHUB_RUN_ID",
        "cicd.pipeline.task.name": "GITHUB_JOB",
        "cicd.worker.name": "RUNNER_NAME",
        "vcs.repository.name": "GITHUB_REPOSITORY",
        "vcs.owner.name": "GITHUB_REPOSITORY_OWNER",
        "vcs.ref.head.name": "GITHUB_REF_NAME",
        "vcs.ref.head.revision": "GITHUB_SHA",
        "vcs.ref.head.type": "GITHUB_REF_TYPE",
        "vcs.ref.base.name": "GITHUB_BASE_REF",
    },
    "GITLAB_CI": {
        "cicd.pipeline.name": "CI_PIPELINE_NAME",
        "cicd.pipeline.run.id": "CI_PIPELINE_ID",
        "cicd.pipeline.run.url.full": "CI_PIPELINE_URL",
        "cicd.pipeline.task.name": "CI_JOB_NAME",
        "cicd.pipeline.task.run.id": "CI_JOB_ID",
        "cicd.pipeline.task.run.url.full": "CI_JOB_URL",
        "cicd.worker.id": "CI_RUNNER_ID",
        "vcs.repository.name": "CI_PROJECT_NAME",
        "vcs.repository.url.full": "CI_PROJECT_URL",
        "vcs.owner.name": "CI_PROJECT_NAMESPACE",
        "vcs.ref.head.name": "CI_COMMIT_REF_NAME",
        "vcs.ref.head.revision": "CI_COMMIT_SHA",
        "vcs.ref.base.name": "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
        "vcs.change.id": "CI_MERGE_REQUEST_IID",
    },
    "JENKINS_URL": {
        "cicd.pipeline.name": "JOB_NAME",
        "cicd.pipeline.run.id": "BUILD_NUMBER",
        "cicd.pipeline.run.url.full": "BUILD_URL",
        "cicd.pipeline.task.name": "STAGE_NAME",
        "cicd.worker.name": "NODE_NAME",
        "vcs.repository.url.full": "GIT_URL",
        "vcs.ref.head.name": "GIT_BRANCH",
        "vcs.ref.head.revision": "GIT_COMMIT",
        "vcs.ref.base.name": "CHANGE_TARGET",
        "vcs.change.id": "CHANGE_ID",
    },
    "CIRCLECI": {
        "cicd.pipeline.name": "CIRCLE_PROJECT_REPONAME",
        "cicd.pipeline.run.id": "CIRCLE_WORKFLOW_ID",
        "cicd.pipeline.task.name": "CIRCLE_JOB",
        "cicd.pipeline.task.run.id": "CIRCLE_BUILD_NUM",
        "cicd.pipeline.task.run.url.full": "CIRCLE_BUILD_URL",
        "vcs.repository.name": "CIRCLE_PROJECT_REPONAME",
        "vcs.repository.url.full": "CIRCLE_REPOSITORY_URL",
        "vcs.owner.name": "CIRCLE_PROJECT_USERNAME",
        "vcs.ref.head.name": "CIRCLE_BRANCH",
        "vcs.ref.head.revision": "CIRCLE_SHA1",
    },
    "BUILDKITE": {
        "cicd.pipeline.name": "BUILDKITE_PIPELINE_SLUG",
        "cicd.pipeline.run.id": "BUILDKITE_BUILD_ID",
        "cicd.pipeline.run.url.full": "BUILDKITE_BUILD_URL",
        "cicd.pipeline.task.name": "BUILDKITE_LABEL",
        "cicd.pipeline.task.run.id": "BUILDKITE_JOB_ID",
        "cicd.worker.id": "BUILDKITE_AGENT_ID",
        "vcs.repository.url.full": "BUILDKITE_REPO",
        "vcs.ref.head.name": "BUILDKITE_BRANCH",
        "vcs.ref.head.revision": "BUILDKITE_COMMIT",
    },
    "TF_BUILD": {
        "cicd.pipeline.name": "BUILD_DEFINITIONNAME",
        "cicd.pipeline.run.id": "BUILD_BUILDID",
        "cicd.pipeline.task.name": "SYSTEM_JOBDISPLAYNAME",
        "cicd.pipeline.task.run.id": "SYSTEM_JOBID",
        "cicd.worker.name": "AGENT_NAME",
        "vcs.repository.name": "BUILD_REPOSITORY_NAME",
        "vcs.repository.url.full": "BUILD_REPOSITORY_URI",
        "vcs.ref.head.name": "BUILD_SOURCEBRANCHNAME",
        "vcs.ref.head.revision": "BUILD_SOURCEVERSION",
    },
}
_GITHUB_CHANGE = re.compile(r"\Arefs/pull/(\d+)/")


def resource_attributes(worker_id: str, environ: Mapping[str, str] = os.environ) -> dict[str, AttributeValue]:
    """Return the attributes of this process's resource.

    :param worker_id: "master", "gw0"...
    :param environ: where the CI system tells about its pipeline; GitHub, GitLab, Jenkins, CircleCI, Buildkite
        and Azure are known.
    """
    attributes: dict[str, AttributeValue] = {
        "service.name": "pytest-clnrm",
        "service.instance.id": str(uuid.UUID(bytes=os.urandom(16), version=4)),
        "clnrm.worker.id": worker_id,
        "process.pid": os.getpid(),
    }
    for system, names in _SYSTEMS.items():
        if environ.get(system):
            found = {name: environ[variable] for name, variable in names.items() if environ.get(variable)}
            if system == "GITHUB_ACTIONS":
                found.update(_github(environ))
            elif environ.get("CI_COMMIT_SHA"):
                found["vcs.ref.head.type"] = "tag" if environ.get("CI_COMMIT_TAG") else "branch"
            attributes.update(
                (name, _without_credentials(value) if ".url." in name else value)
                for name, value in found.items()
            )
            break
    return attributes


def _github(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what GitHub tells in parts, or elsewhere for a pull request."""
    found = {"vcs.provider.name": "github"}
    repository, server = environ.get("GITHUB_REPOSITORY", ""), environ.get("GITHUB_SERVER_URL", "")
    if repository:
        found["vcs.repository.name"] = repository.rpartition("/")[2]
    if repository and server:
        found["vcs.repository.url.full"] = f"{server}/{repository}"
        if environ.get("GITHUB_RUN_ID"):
            found["cicd.pipeline.run.url.full"] = (
                f"{server}/{repository}/actions/runs/{environ['GITHUB_RUN_ID']}"
            )
    change = _GITHUB_CHANGE.match(environ.get("GITHUB_REF", ""))
    if change:
        found["vcs.change.id"] = change[1]
    if environ.get("GITHUB_HEAD_REF"):
        found["vcs.ref.head.name"] = environ["GITHUB_HEAD_REF"]
    return found


def _without_credentials(url: str) -> str:
    """Return *url* without the user and password that CI systems clone with."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
