"""A cluster as the engine: does it answer, and may we do there what runs need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.doctor.finding import Finding, broken, good
from pytest_clnrm.engine.kubernetes import rights as of_cluster
from pytest_clnrm.errors import EngineUnavailableError

if TYPE_CHECKING:
    from pytest_clnrm.doctor.patient import Patient

ROLE = Path(of_cluster.__file__).parent / "role.yaml"


def cluster(patient: Patient) -> Finding:
    """Tell which cluster runs would use."""
    try:
        facts = patient.engine().facts
    except EngineUnavailableError as error:
        return broken(error.summary, " ".join(error.details) or "see `kubectl cluster-info`")
    return good(f"{facts.kind} {facts.version} at {facts.url}, named by --clnrm-engine")


def rights(patient: Patient) -> Finding:
    """Tell what we may not do in the namespace."""
    missing = of_cluster.missing_in(patient.settings.engine, patient.environ)
    if missing:
        return broken(
            f"missing in the namespace: {'; '.join(missing)}",
            f"kubectl apply -f {ROLE}, and a rolebinding to that Role for who runs the tests",
        )
    return good(f"all {len(of_cluster.RIGHTS)} that runs need in the namespace")
