"""What types cannot say of the artifacts of a service."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.format.problems import Problem
from pytest_clnrm.scenario.format.service_document import ServiceDoc
from pytest_clnrm.util.path_globs import components, is_glob

_IN_MEMORY = ("/proc", "/sys", "/dev")
_MAX_CHARS = 4096
_FOLDER = "name a folder first, as /var/log/*.log does"


def check_artifacts(doc: ServiceDoc, path: KeyPath) -> Iterator[Problem]:
    """Yield the mistakes of the artifacts of a service."""
    seen: set[str] = set()
    for index, each in enumerate(doc.artifact_tables):
        at: KeyPath = (*path, "artifacts", index)
        at = at if isinstance(doc.artifacts[index], str) else (*at, "path")
        yield from (Problem(at, *why) for why in _mistakes(each.path, doc.scratch))
        if each.path in seen:
            yield Problem(at, f"{each.path} is there twice")
        seen.add(each.path)


def _mistakes(path: str, scratch: list[str]) -> Iterator[tuple[str, ...]]:
    parts = components(path)
    if "\0" in path or len(path) > _MAX_CHARS:
        yield (f"is no path: at most {_MAX_CHARS} characters, and none of them NUL",)
    elif ".." in parts:
        yield ("must not hold '..': say the folder that is meant",)
    elif not parts:
        yield "is the whole container", _FOLDER
    elif is_glob(parts[0]):
        yield "would look through the whole container", _FOLDER
    else:
        whole = f"/{'/'.join(parts)}/"
        for each in (*_IN_MEMORY, *scratch):
            if whole.startswith(f"{each.rstrip('/')}/"):
                yield f"{each} is in memory, which is not seen from outside", "let a step copy it elsewhere"
                return
