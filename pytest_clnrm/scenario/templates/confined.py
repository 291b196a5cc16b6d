"""What a file may ask for without an end is done in a process with limits of time and memory.

Small files whose templates only name things, as most do, are read in this process. What else templates can
do, and what large files are, has no bound that could be told from its text: there the limits hold for all of
it, whatever the construct. One such process serves all files of a run, one after another.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import io
import json
import pickle
import threading
import traceback
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from pytest_clnrm.errors import ClnrmError, Mistake
from pytest_clnrm.scenario.templates.render import TemplateError, is_plain
from pytest_clnrm.util.confined import Confined, ConfinedError

CPU_S = 4.0
WALL_S = 60.0
"""Longer than any load of the host makes of the time to compute, and short enough for who waits."""
MEMORY_BYTES = 512 << 20

# Of the functions that are called there, named in time: importing them is no part of what a file costs.
_IMPORTS = ("pytest_clnrm.scenario.loading",)
_Result = TypeVar("_Result")
_MODULES = frozenset({
    "pytest_clnrm.errors", "pytest_clnrm.model.captured", "pytest_clnrm.model.check",
    "pytest_clnrm.model.expectations", "pytest_clnrm.model.fault", "pytest_clnrm.model.http",
    "pytest_clnrm.model.json_checks", "pytest_clnrm.model.limits", "pytest_clnrm.model.priority",
    "pytest_clnrm.model.scenario", "pytest_clnrm.model.selection", "pytest_clnrm.model.service",
    "pytest_clnrm.model.step", "pytest_clnrm.model.text", "pytest_clnrm.scenario.templates.render",
})  # fmt: skip
_VALUES = frozenset({
    ("builtins", "frozenset"), ("builtins", "set"), ("datetime", "date"), ("datetime", "datetime"),
    ("datetime", "time"), ("datetime", "timedelta"), ("datetime", "timezone"),
})  # fmt: skip


class LimitError(Exception):
    """It took too much time or memory.

    :ivar mistake: what, with the place of the template that was being rendered, else the file's first line.
    """

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(mistake.message)
        self.mistake = mistake


def run_confined(function: Callable[..., _Result], *args: Any, wall_s: float = WALL_S) -> _Result:
    """Return what *function* returns, or raise the error of ours that it raises, within the limits.

    :param function: of a module; it and *args* are pickled, its result is of the types of a scenario.
    :param wall_s: seconds until it is given up.
    :raises LimitError: if it was given up.
    """
    request = pickle.dumps((function, args))
    try:
        with _lock:
            reply = _confined().call(request, cpu_s=CPU_S, wall_s=min(WALL_S, wall_s))
    except ConfinedError as error:
        raise LimitError(_limit_mistake(error)) from None
    kind, value = _Reply(io.BytesIO(reply)).load()
    if kind == "error":
        raise value
    if kind == "fault":
        raise RuntimeError(value)
    result: _Result = value
    return result


def bind(function: Callable[..., _Result], what: Any, *values: Any, wall_s: float) -> _Result:
    """Return what *function* makes of *what* and *values*: within the limits if its templates need them.

    :param what: in which the templates are.
    :raises TemplateError: if a template cannot be rendered, or takes too much.
    """
    if is_plain(what):
        return function(what, *values)
    try:
        return run_confined(function, what, *values, wall_s=wall_s)
    except LimitError as error:
        raise TemplateError(str(error)) from None


_lock = threading.Lock()


@functools.cache
def _confined() -> Confined:
    confined = Confined(f"{__name__}:answer", memory_bytes=MEMORY_BYTES, imports=_IMPORTS)
    atexit.register(confined.close)
    return confined


def close() -> None:
    """End the process; the next request starts another one."""
    with _lock:
        _confined().close()


def _limit_mistake(error: ConfinedError) -> Mistake:
    line, path = json.loads(error.note) if error.note else (1, "")
    what = "this template" if path or line > 1 else "reading the file"
    cause = {
        "time": f"takes more than {CPU_S:g} s",
        "memory": f"takes more than {MEMORY_BYTES >> 20} MiB of memory",
        "ended": "takes more memory than there is, or is nested too deeply",
    }[error.reason]
    message = f"{what} {cause}; make it smaller, or spread it over several files"
    return Mistake(line=line or 1, column=0, path=path, message=message)


class _Reply(pickle.Unpickler):
    """Reads a reply: values of a scenario and errors of ours, and nothing that does anything."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class that a reply may hold.

        :raises pickle.UnpicklingError: for any other.
        """
        if (module, name) in _VALUES:
            return super().find_class(module, name)
        found = super().find_class(module, name) if module in _MODULES else None
        if isinstance(found, type) and (
            dataclasses.is_dataclass(found)
            or issubclass(found, (str, tuple, Enum, ClnrmError, TemplateError))
        ):
            return found
        raise pickle.UnpicklingError(f"a reply cannot hold {module}.{name}")


def answer(request: bytes) -> bytes:
    """Call the function that a request names; runs in the process with limits."""
    function, args = pickle.loads(request)  # noqa: S301 (of the process that started this one)
    try:
        reply = "result", function(*args)
    except (ClnrmError, TemplateError) as error:
        reply = "error", error
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 a fault of ours is shown by the one who asks
        reply = "fault", traceback.format_exc()
    return pickle.dumps(reply)
