"""What this package has to be allowed to do in its namespace, and how to find out what is missing.

``role.yaml`` beside this module holds the same for ``kubectl apply``; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pytest_clnrm.engine.kubernetes.choice import is_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_clnrm.engine.kubernetes.rest import Rest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a kind of objects, and what it is for.

    :param group: of the API; "" for the core.
    :param resource: ``pods`` or ``pods/exec``.
    """

    verb: str
    group: str
    resource: str
    why: str

    def __str__(self) -> str:
        what = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {what} ({self.why})"


def _rights(group: str, resource: str, **verbs: str) -> tuple[Right, ...]:
    return tuple(Right(verb, group, resource, why) for verb, why in verbs.items())


RIGHTS = (
    *_rights(
        "",
        "pods",
        create="a pod is a container",
        get="its state",
        list="what is there, for the cap and for sweeping",
        watch="to hear when it runs",
        delete="to remove it",
    ),
    # A websocket is opened by GET, which servers took for "get" before 1.31 and take for "create" since.
    *_rights("", "pods/exec", create="steps", get="steps, over a websocket"),
    *_rights("", "pods/log", get="what services print"),
    *_rights(
        "",
        "services",
        create="names of services",
        get="whether they are there",
        list="to sweep",
        delete="to sweep",
    ),
    *_rights("", "configmaps", create="our programs in pods"),
    *_rights("", "secrets", create="files that are copied in", delete="to remove them"),
    *_rights(
        "batch",
        "jobs",
        create="what all else of a run belongs to",
        list="to sweep, and to find that of a run",
        patch="to put its end off",
        delete="to end a run",
    ),
    *_rights("networking.k8s.io", "networkpolicies", create="to keep scenarios apart", delete="to sweep"),
)


def missing_rights(rest: Rest) -> list[Right]:
    """Return the rights that we do not have in the namespace, asked for one by one.

    :raises EngineError: if the cluster does not tell.
    """
    return [each for each in RIGHTS if not _may(rest, each)]


def asked(choice: str, environ: Mapping[str, str], question: Callable[[Rest], list[T]]) -> list[T]:
    """Return what the cluster that ``--clnrm-engine`` names answers; nothing where that is no cluster.

    :raises EngineUnavailableError: if it cannot be reached.
    """
    from pytest_clnrm.engine.kubernetes.access import find_access
    from pytest_clnrm.engine.kubernetes.rest import Rest

    if not is_cluster(choice):
        return []
    rest = Rest(find_access(choice, environ))
    try:
        return question(rest)
    finally:
        rest.close()


def _may(rest: Rest, right: Right) -> bool:
    resource, _, below = right.resource.partition("/")
    asked = {
        "namespace": rest.access.namespace,
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        **({"subresource": below} if below else {}),
    }
    answer = rest.call(
        "ask what we may do",
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        body={
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        },
    )
    return bool(answer.get("status", {}).get("allowed"))
