"""The engine: is there one, which, what can it not do, and is it where one believes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_clnrm.doctor.finding import Finding, broken, good, not_tried, warning
from pytest_clnrm.engine.api import ContainerSpec, Mount
from pytest_clnrm.errors import EngineUnavailableError, UnsharedError

if TYPE_CHECKING:
    from pytest_clnrm.doctor.patient import Patient

_MAX_SKEW_S = 2.0
_STEPS_OF_TOOL = ("/clnrm", "pause")
_MEMORY_BYTES = 16 << 20


def engine(patient: Patient) -> Finding:
    """Tell which engine runs would use, and who named it."""
    try:
        about = patient.asked.about
    except EngineUnavailableError as error:
        told = next((each for each in error.details if "`" in each), "")
        return broken(
            error.summary, told or "start it, or name another one with --clnrm-engine or DOCKER_HOST"
        )
    facts = about.facts
    named = f"named by {about.origin}" if about.origin else "the first usual socket that answers"
    return good(f"{facts.kind} {facts.version} at {facts.url}, {named}")


def api(patient: Patient) -> Finding:
    """Tell the versions of the API."""
    about = patient.asked.about
    return good(f"spoken in version {about.api}; it knows {about.oldest_api or '?'} to {about.newest_api}")


def limits(patient: Patient) -> Finding:
    """Tell which limits of containers the engine ignores."""
    about = patient.asked.about
    group = f"cgroup v{about.cgroup} ({about.cgroup_driver})" if about.cgroup else "cgroups unknown"
    if about.facts.warnings:
        return warning(
            f"{group}: {' '.join(about.facts.warnings).rstrip('.')}",
            "switch on what is missing in the kernel's command line (cgroup_enable=memory swapaccount=1), or "
            "use a machine with cgroup v2",
        )
    return good(f"{group}: memory, swap, CPU and processes are limited")


def place(patient: Patient) -> Finding:
    """Tell what is different as the engine is rootless, in a virtual machine, or we are in its container."""
    facts = patient.facts
    told = []
    if facts.remote and facts.url.startswith("unix://"):
        told.append("this process runs in a container of the engine, whose paths are those of its host")
    elif facts.remote or facts.elsewhere:
        told.append("it is in a virtual machine or on another host")
    if facts.rootless:
        told.append("rootless: containers are used again only with --clnrm-pool inside")
    if patient.network.relay is not None:
        told.append("its networks are reached over a relay")
    elif not patient.network.gateway:
        why = patient.runtime.networks().why_out_of_reach
        return warning(
            f"its networks are out of reach, and there is no relay: {why}", "use an engine on this machine"
        )
    return good("; ".join(told) or "on this machine, with root's rights")


def volumes(patient: Patient) -> Finding:
    """Mount the project's folder, and look whether the engine has the same one."""
    name = next((each.name for each in sorted(patient.rootdir.iterdir()) if each.is_file()), "")
    if not name:
        return not_tried(f"{patient.rootdir} holds no file to look for")
    engine = patient.engine()
    image = engine.ensure_image(patient.tool_image, "never")
    spec = ContainerSpec(
        name=f"{patient.runtime.next_name()}-volume",
        image=image.id,
        command=_STEPS_OF_TOOL,
        replace_entrypoint=True,
        memory_bytes=_MEMORY_BYTES,
        cpus=0.1,
        pids=4,
        mounts=(Mount(source=str(patient.rootdir), target="/project", read_only=True),),
        labels=patient.runtime.labels(""),
    )
    remedy = "copy files in (files = [...]) or build them into an image, or share that path with the engine"
    try:
        container = engine.create_container(spec)
    except UnsharedError as error:
        return warning(f"the engine does not have {error.source} of this machine ({error.why})", remedy)
    try:
        seen = engine.look_at_path(container, f"/project/{name}")
    finally:
        engine.remove([container])
    if seen is None:
        return warning(f"the engine has another {patient.rootdir} than this machine", remedy)
    return good(f"the engine has {patient.rootdir}, as this machine has it")


def clock(patient: Patient) -> Finding:
    """Compare the engine's clock with ours: spans and log lines of containers have its times."""
    before_s = time.time()
    told_s = patient.engine().clock_s()
    after_s = time.time()
    skew_s = told_s - after_s if told_s > after_s else min(0.0, told_s - before_s)
    if abs(skew_s) > _MAX_SKEW_S:
        ahead = "ahead of" if skew_s > 0 else "behind"
        return warning(
            f"the engine's clock is {abs(skew_s):.1f} s {ahead} this machine's: spans and logs of containers "
            "have other times than those of steps",
            "set both by NTP; of a virtual machine, restart it or its time service",
        )
    return good("the engine's clock is this machine's, to two seconds")
