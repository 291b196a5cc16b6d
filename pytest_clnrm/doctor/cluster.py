"""A cluster as the engine: does it answer, and may we do there what runs need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.doctor.finding import Finding, broken, good, not_tried, warning
from pytest_clnrm.engine.kubernetes import rights as of_cluster
from pytest_clnrm.errors import EngineError, EngineUnavailableError

if TYPE_CHECKING:
    from pytest_clnrm.doctor.patient import Patient

ROLE = Path(of_cluster.__file__).parent / "role.yaml"
PRIORITIES = ROLE.with_name("priorities.yaml")


def cluster(patient: Patient) -> Finding:
    """Tell which cluster runs would use."""
    try:
        facts = patient.engine().facts
    except EngineUnavailableError as error:
        return broken(error.summary, " ".join(error.details) or "see `kubectl cluster-info`")
    return good(f"{facts.kind} {facts.version} at {facts.url}, named by --clnrm-engine")


def rights(patient: Patient) -> Finding:
    """Tell what we may not do in the namespace."""
    missing = of_cluster.asked(patient.settings.engine, patient.environ, of_cluster.missing_rights)
    if missing:
        return broken(
            f"missing in the namespace: {'; '.join(map(str, missing))}",
            f"kubectl apply -f {ROLE}, and a rolebinding to that Role for who runs the tests",
        )
    return good(f"all {len(of_cluster.RIGHTS)} that runs need in the namespace")


def priorities(patient: Patient) -> Finding:
    """Tell whether scenarios of all runs wait for room in the order of their priorities."""
    from pytest_clnrm.engine.kubernetes.queueing import missing_classes

    missing = of_cluster.asked(patient.settings.engine, patient.environ, missing_classes)
    if missing:
        return warning(
            f"the cluster has no PriorityClass {', '.join(missing)}: runs get room in any order",
            f"kubectl apply -f {PRIORITIES}, which takes an administrator of the cluster",
        )
    return good("the cluster gives room to scenarios of higher priority first")


def policies(patient: Patient) -> Finding:
    """Tell whether the network does what NetworkPolicies say, by which scenarios are kept apart."""
    runtime = patient.runtime
    image = runtime.settings.default_image
    try:
        engine = patient.engine()
        engine.ensure_image(image, runtime.settings.pull)
        if patient.network.relay is None:
            return not_tried(runtime.networks().why_out_of_reach)
    except EngineError as error:
        return not_tried(f"it takes pods of an image that the nodes have (clnrm_default_image): {error}")
    runtime.end_trying()
    found = [each for each in runtime.engine_warnings if each not in engine.facts.warnings]
    if found:
        return warning(
            found[0], "use a network that heeds them (Calico, Cilium), where scenarios must be kept apart"
        )
    return good("the network keeps out what a NetworkPolicy does not let in")
