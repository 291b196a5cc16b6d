"""Containers that serve another scenario: what is looked at, and what is replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clnrm_testing.defences import Defence

_PROCESSES = "pytest_clnrm.engine.docker.observed_processes"
_VIEW = "pytest_clnrm.engine.docker.observe:_View"


def _attack(name: str) -> str:
    return f"test_reuse.py::test_the_next_scenario_sees_nothing[{name}]"


def _only_ours(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what takes no notice of other processes."""
    from pytest_clnrm.engine.docker.observed_processes import _process, read

    def processes_of(first: int, proc: int) -> Any:
        children = map(int, read(b"/proc/%d/task/%d/children" % (first, first)).split())
        ours = [each for each in children if read(b"/proc/%d/cmdline" % each).endswith(b"\0pytest-clnrm\0")]
        return _process(first), _process(ours[0]) if ours else None

    return processes_of


def _nothing(_: object) -> Callable[..., Any]:
    return lambda *_, **__: ()


def _without(*names: str) -> Callable[[Any], Callable[..., Any]]:
    """Return what leaves out some of what is yielded."""
    return lambda original: (
        lambda *args, **options: (
            (name, value)
            for name, value in original(*args, **options)
            if not any(each in name for each in names)
        )
    )


def _only_emptied(original: Any) -> Callable[..., Any]:
    """Return what empties scratch folders, and tells nothing of themselves."""

    def scratch_folders(*args: Any) -> Any:
        list(original(*args))
        return ()

    return scratch_folders


DEFENCES = (
    Defence(
        name="each process is found whatever it calls itself",
        target=f"{_PROCESSES}:processes_of",
        without=_only_ours,
        attack=_attack("name-with-form-feed"),
        shows="SEEN",
    ),
    Defence(
        name="the container's own layer is compared",
        target=f"{_VIEW}._own_files",
        without=_nothing,
        attack=_attack("replaced-find"),
        shows="SEEN",
    ),
    *(
        Defence(
            name=f"{what} of processes is compared",
            target=f"{_PROCESSES}:facts_of",
            without=_without(*names),
            attack=_attack(attack),
            shows="SEEN",
        )
        for what, names, attack in (
            ("affinity", ("Cpus_allowed", "processors"), "processors"),
            ("priority of input and output", ("priority of input",), "idle-scheduling"),
            ("filter of core dumps", ("coredump_filter",), "core-dumps"),
            ("size of pipes", ("open file",), "pipe-size"),
        )
    ),
    Defence(
        name="scratch folders are compared themselves",
        target=f"{_VIEW}.scratch_folders",
        without=_only_emptied,
        attack=_attack("scratch-list"),
        shows="SEEN",
    ),
    Defence(
        name="scratch folders have a new time",
        target="pytest_clnrm.engine.docker.observe:touch",
        without=_nothing,
        attack=_attack("scratch-time"),
        shows="SEEN",
    ),
    Defence(
        name="modes of the kernel's files are compared",
        target=f"{_VIEW}.kernel_files",
        without=_nothing,
        attack=_attack("mode-of-proc-net"),
        shows="SEEN",
    ),
    Defence(
        name="all that can be written is compared",
        target=f"{_VIEW}.files",
        without=_nothing,
        attack=_attack("mode-of-ptmx"),
        shows="SEEN",
    ),
    Defence(
        name="System V objects are compared",
        target=f"{_VIEW}.memory",
        without=_nothing,
        attack=_attack("shared-memory"),
        shows="SEEN",
    ),
    Defence(
        name="each scenario has a shell of its own",
        target="pytest_clnrm.engine.exec.shells:Shells.begin_anew",
        without=lambda _: lambda self, container, kill_shell, meanwhile: meanwhile(),
        attack=_attack("commands-for-the-shell"),
        shows="SEEN",
    ),
    Defence(
        name="each step has open files of its own",
        target="pytest_clnrm.engine.exec.shell_script:_FUNCTIONS",
        without=lambda text: text.replace(
            "exec >/proc/self/fd/3 2>/proc/self/fd/4 3>&-", "exec >&3 2>&4 3>&-"
        ),
        attack="test_reuse.py::test_a_steps_open_files_are_its_own",
        shows="SEEN",
    ),
)
