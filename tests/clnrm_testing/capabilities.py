"""What engines cannot do: tests that need it are skipped there with the reason, or expect the refusal.

The tables of docs/engines.md and docs/kubernetes.md are made from it (:mod:`clnrm_testing.engine_tables`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import EngineFacts

Capability = Literal[
    "a pool",
    "a registry without TLS",
    "a shell as main process",
    "builds",
    "checks of images",
    "checks of processes and sockets",
    "disconnecting",
    "health checks",
    "images known before the start",
    "images of prepared services",
    "killing and pausing",
    "limits",
    "names on internal networks",
    "networks apart",
    "out of memory in the state",
    "ports beside an internal network",
    "published UDP ports",
    "refusing too many CPUs and GPUs",
    "starting again",
    "stop signals",
    "streams of a log",
    "telling that a log has lost its beginning",
    "ulimits",
    "users by name",
    "volumes between services",
    "writable volumes",
]
EngineName = Literal[
    "any, rootless, cgroup v1",
    "any, rootless",
    "Podman, no systemd",
    "Podman",
    "Podman 4 with CNI",
    "a cluster",
]
Needs = Callable[[Capability], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """Something that an engine cannot do, or does in another way.

    :param what: as the documentation has it: what an engine cannot do; of a cluster, what it is about.
    :param meaning: what that means to users.
    :param lacks: what tests and scenarios cannot have there.
    :param says: what a scenario that needs it fails with: a regular expression, searched in its messages.
    :param outcome: of such a scenario.
    """

    engine: EngineName
    what: str
    meaning: str
    lacks: tuple[Capability, ...] = ()
    says: str = ""
    outcome: Literal["failed", "error"] = "failed"


LACKS: tuple[Lack, ...] = (
    Lack(
        engine="any, rootless, cgroup v1",
        what="limit memory, CPUs and processes",
        meaning="containers have no limits; the end of the run says so in one line. With cgroup v2 they have",
        lacks=("limits",),
    ),
    Lack(
        engine="any, rootless, cgroup v1",
        what="pause containers; Docker: list their processes",
        meaning="steps with `pause`, and checks of a `process`, fail and say so",
    ),
    Lack(
        engine="any, rootless",
        what="be looked at from outside",
        meaning="containers are not used again, unless `--clnrm-pool inside` ([pool](pool.md)); the end "
        "of the run says so",
        lacks=("a pool",),
    ),
    Lack(
        engine="Podman, no systemd",
        what="run the health check of an image",
        meaning="`ready = { healthcheck = true }` waits in vain, and says so; `healthcheck = { command = ... "
        "}` is run by this plugin",
        lacks=("health checks",),
    ),
    Lack(
        engine="Podman",
        what="have a shell as main process",
        meaning="the first step in a container opens an exec, which stays open ([exec](exec.md)): a main "
        "process has other variables and capabilities than execs",
        lacks=("a shell as main process",),
    ),
    Lack(
        engine="Podman",
        what="refuse more CPUs or GPUs than it has",
        meaning="it gives what there is. `--clnrm-cpu` above what the machine has is refused before the run",
        lacks=("refusing too many CPUs and GPUs",),
    ),
    Lack(
        engine="Podman",
        what="pull over plain HTTP",
        meaning="only from registries of its own `registries.conf`",
        lacks=("a registry without TLS",),
    ),
    Lack(
        engine="Podman",
        what="limit the processes of a build",
        meaning="see [security](security.md)",
    ),
    Lack(
        engine="Podman",
        what="tell that a log has lost its beginning",
        meaning="it empties a log that is as long as `clnrm_max_log` says: let that be more than a service "
        "prints, or checks of what must not be in its log look at the end of it alone",
        lacks=("telling that a log has lost its beginning",),
    ),
    Lack(
        engine="Podman",
        what="tell owners and links of single files",
        meaning="`owner`, `group` and `target` of a check are looked for in an export of the container; of "
        "files in volumes they cannot be told",
    ),
    Lack(
        engine="Podman",
        what="tell whose the files of a volume are",
        meaning="services with `prepare` start from their own image, and it is noted "
        "([prepared](prepared.md))",
        lacks=("images of prepared services",),
    ),
    Lack(
        engine="Podman 4 with CNI",
        what="have names on internal networks, ports beside them, networks that are apart",
        meaning="services of a scenario do not find each other by name",
        lacks=("names on internal networks", "networks apart", "ports beside an internal network"),
    ),
    Lack(
        engine="Podman 4 with CNI",
        what="tell that a container ran out of memory",
        meaning="it sees its init process alone; steps are told right, the end of a service is not",
        lacks=("out of memory in the state",),
    ),
    Lack(
        engine="a cluster",
        what="`build`",
        meaning="refused: build the image elsewhere, push it, and name it",
        lacks=("builds",),
        says="a cluster builds none; build it elsewhere, push it",
        outcome="error",
    ),
    Lack(
        engine="a cluster",
        what="volumes of this host's files and folders",
        meaning="read-only ones are copied in when the pod is made; writable ones are refused",
        lacks=("writable volumes",),
        says="a cluster cannot run this: the volume /out is writable",
    ),
    Lack(
        engine="a cluster",
        what="volumes that services share",
        meaning="refused: pods share none",
        lacks=("volumes between services",),
        says="a cluster cannot have the volume .*: pods share none",
    ),
    Lack(
        engine="a cluster",
        what="`files`",
        meaning="read-only in the container; with read-only volumes up to 900 kB a service, no links",
    ),
    Lack(
        engine="a cluster",
        what="published UDP ports",
        meaning="refused: steps reach them inside, by name",
        lacks=("published UDP ports",),
        says="the UDP port 5353 cannot be published: steps reach it inside, by name",
    ),
    Lack(
        engine="a cluster",
        what="`ulimits`",
        meaning="refused: they are the node's",
        lacks=("ulimits",),
        says=r"the limit nofile \(ulimits\) is the node's",
    ),
    Lack(
        engine="a cluster",
        what="`stop_signal`",
        meaning="refused: it is the image's",
        lacks=("stop signals",),
        says="the signal to stop with is the image's: write STOPSIGNAL SIGINT",
    ),
    Lack(
        engine="a cluster",
        what="`user` of a service",
        meaning="a number; of a step a name too, where the container runs as root",
        lacks=("users by name",),
        says="the user 'nobody' is a name, which only the image knows: write its number",
    ),
    Lack(
        engine="a cluster",
        what="a service without a `command`",
        meaning="runs its image's if it has `ready` or ports or others depend on it; if it has only steps it "
        "waits for them, as it does for the commands of a Python test. The cluster does not tell what an "
        "image runs: write `command` to be sure",
    ),
    Lack(
        engine="a cluster",
        what="an image that cannot be had",
        meaning="told when the service starts, as the nodes pull it then; not before the scenario",
        lacks=("images known before the start",),
        says="the image of .* cannot be had",
    ),
    Lack(
        engine="a cluster",
        what="`start` and `restart` of a service",
        meaning="refused: its pod is gone; `stop` works",
        lacks=("starting again",),
        says="a cluster cannot start a container again: its pod, with all that it has written, is gone",
    ),
    Lack(
        engine="a cluster",
        what="`kill` and `pause`",
        meaning="refused: pods can be asked to end",
        lacks=("killing and pausing",),
        says="a cluster cannot (kill|pause) a container: pods can be asked to end",
    ),
    Lack(
        engine="a cluster",
        what="`disconnect`",
        meaning="refused: a pod stays where it is",
        lacks=("disconnecting",),
        says="a cluster cannot take a pod off its network",
    ),
    Lack(
        engine="a cluster",
        what="services that scenarios share",
        meaning="work, but do not reach the services of their users by name. One that nobody uses is ended "
        "where others lack room ([how](design/cluster.md#what-a-run-shares))",
    ),
    Lack(
        engine="a cluster",
        what="prepared services",
        meaning="services with `prepare` start from their own image, and it is noted",
        lacks=("images of prepared services",),
    ),
    Lack(
        engine="a cluster",
        what="`--clnrm-warm`",
        meaning="has no effect, and the run says so: what it has on a cluster ends with it",
    ),
    Lack(
        engine="a cluster",
        what="checks of images",
        meaning="fail: a cluster does not tell what they are like",
        lacks=("checks of images",),
        says="could not be checked: a cluster does not tell what .* is like",
    ),
    Lack(
        engine="a cluster",
        what="checks of processes and sockets",
        meaning="fail: ask by a step (`ps`, `netstat`)",
        lacks=("checks of processes and sockets",),
        says="process 'httpd' could not be checked: processes of a pod are not told: check them by a step",
    ),
    Lack(
        engine="a cluster",
        what="peak memory, `clnrm_max_disk`",
        meaning="not told by a cluster, so not watched",
    ),
    Lack(
        engine="a cluster",
        what="checks of files, artifacts",
        meaning="of running containers only, by the image's own `stat`, `cat` and `tar`",
    ),
    Lack(
        engine="a cluster",
        what="long logs",
        meaning="checks look at the newest file that a node keeps of a log (10 MiB, or what its kubelet's "
        "`containerLogMaxSize` says), and it does not tell whether there were others; of a service that was "
        "stopped the last 4 MB are kept, and what cannot be judged on these fails",
        lacks=("telling that a log has lost its beginning",),
    ),
    Lack(
        engine="a cluster",
        what="streams of a log",
        meaning="one, of services and of steps with an `image`: what is written to stderr counts as stdout. "
        "`from` of a check, `stderr` of such a step's `expect` and `from` of its `capture` fail, and say so",
        lacks=("streams of a log",),
        says="this engine keeps stdout and stderr of a container as one text",
    ),
    Lack(
        engine="a cluster",
        what="pool",
        meaning="off: no list of changes proves that a container is unchanged",
        lacks=("a pool",),
    ),
    Lack(
        engine="a cluster",
        what="published TCP ports, HTTP steps, readiness by port or HTTP, spans",
        meaning="work, over a relay in the run's own pod",
    ),
    Lack(engine="a cluster", what="a limit of processes (`limits.pids`)", meaning="the node's"),
    Lack(
        engine="a cluster",
        what="keeping scenarios apart, `network`",
        meaning="by NetworkPolicies, which some networks ignore: a run tries that, and says so at its end",
    ),
    Lack(engine="a cluster", what="engines inside of pods", meaning="not provided for"),
)


def lack(needed: Capability, facts: EngineFacts) -> Lack | None:
    """Return what keeps an engine from doing something, None if it can."""
    return next((each for each in LACKS if needed in each.lacks and _is(each.engine, facts)), None)


def _is(engine: EngineName, facts: EngineFacts) -> bool:
    match engine:
        case "any, rootless":
            return facts.rootless
        case "any, rootless, cgroup v1":
            return facts.rootless and not Path("/sys/fs/cgroup/cgroup.controllers").exists()
        case "a cluster":
            return facts.kind == "kubernetes"
        case "Podman":
            return facts.kind == "podman"
        case "Podman, no systemd":
            return facts.kind == "podman" and not Path("/run/systemd/system").is_dir()
        case "Podman 4 with CNI":
            return facts.kind == "podman" and facts.version.startswith("4.")


def needing(facts: EngineFacts) -> Needs:
    """Return a function that skips the test that calls it if the engine cannot do what it names."""

    def needs(capability: Capability) -> None:
        if capability == "a registry without TLS" and facts.remote:
            pytest.skip("the tests' registry is on this machine, and the engine is not")
        if (found := lack(capability, facts)) is not None:
            pytest.skip(f"{found.engine} cannot {found.what}: {found.meaning}")

    return needs
