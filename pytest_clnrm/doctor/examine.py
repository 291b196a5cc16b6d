"""All checks, one after the other. A new one is a function of its topic's module, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pytest_clnrm.doctor import cluster, engine, ledger, machine, network, registry, software
from pytest_clnrm.doctor.finding import Finding, broken, not_tried
from pytest_clnrm.doctor.patient import NoProbeError, Patient
from pytest_clnrm.engine.kubernetes.choice import is_cluster
from pytest_clnrm.errors import ClnrmError

Check = Callable[[Patient], Finding]

CHECKS: dict[str, Check] = {
    "versions": software.versions,
    "neighbours": software.neighbours,
    "writing": machine.writable,
    "ledger's folder": ledger.folder,
    "engine": engine.engine,
    "api": engine.api,
    "limits": engine.limits,
    "memory": machine.memory,
    "cpus": machine.cpus,
    "ledger": ledger.ledger,
    "leftovers": ledger.leftovers,
    "other ledgers": ledger.others,
    "engine's disk": machine.engine_disk,
    "disks": machine.disks,
    "clock": engine.clock,
    "addresses": network.addresses,
    "place": engine.place,
    "receiver": network.receiver,
    "names": network.names,
    "volumes": engine.volumes,
    "names outside": network.outside_names,
    "credentials": registry.credentials,
    "registry": registry.registry,
}
"""What is told -> who finds out."""

CHECKS_OF_A_CLUSTER: dict[str, Check] = {
    "versions": software.versions,
    "neighbours": software.neighbours,
    "writing": machine.writable,
    "ledger's folder": ledger.folder,
    "cluster": cluster.cluster,
    "rights": cluster.rights,
    "priorities": cluster.priorities,
    "policies": cluster.policies,
    "ledger": ledger.ledger,
    "leftovers": ledger.leftovers,
    "other ledgers": ledger.others,
    "disks": machine.disks,
    "clock": engine.clock,
}
"""The same where the engine is a cluster."""


def examine(patient: Patient) -> Iterator[tuple[str, Finding]]:
    """Yield what each check has found, as it finds it."""
    told: dict[str, str] = {}
    checks = CHECKS_OF_A_CLUSTER if is_cluster(patient.settings.engine) else CHECKS
    for name, check in checks.items():
        try:
            finding = check(patient)
        except NoProbeError as error:
            finding = not_tried(str(error))
        except ClnrmError as error:
            finding = broken(str(error), "")
        except OSError as error:
            finding = broken(f"{type(error).__name__}: {error}", "")
        except Exception as error:  # noqa: BLE001 (one check that fails keeps nobody from the others)
            finding = broken(f"the check itself has failed: {type(error).__name__}: {error}", "")
        if finding.state == "broken":
            # Told once: whoever needs what is broken fails of the same.
            first = told.setdefault(finding.text, name)
            finding = finding if first == name else not_tried(f"see {first}")
        yield name, finding
