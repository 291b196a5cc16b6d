"""What lies at a path in a container, seen from outside: nothing that runs in it can tell otherwise."""

from __future__ import annotations

from pytest_clnrm.engine.api import ContainerState, EngineFacts
from pytest_clnrm.engine.docker.cgroups import is_process_of
from pytest_clnrm.util.beneath import Opened, open_beneath, open_in_root

NOTHING = (0, 0)


def identity_in(facts: EngineFacts, state: ContainerState, path: str) -> tuple[int, int] | None:
    """Return device and inode of what is at *path* in a container, :data:`NOTHING` if that is nothing.

    None where this process cannot look: the container does not run (any more), runs elsewhere, or is another
    user's.

    :param path: absolute; links are followed as within the container.
    """
    if facts.remote or not state.pid or not is_process_of(state.pid, state.id):
        return None
    root = f"/proc/{state.pid}/root"
    try:
        open_beneath(root, "").close()
    except OSError:
        return None
    try:
        opened: Opened = open_in_root(root, path)
    except OSError:
        found = NOTHING
    else:
        with opened:
            found = opened.identity
    # Its number may be that of another process by now.
    return found if is_process_of(state.pid, state.id) else None
