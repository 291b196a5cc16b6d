"""Our errors in Python tests: pytest shows the line of the test that caused them, and no frame of ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.items.failures import ScenarioFailedError

_Given = ParamSpec("_Given")
_Returned = TypeVar("_Returned")
_Error = TypeVar("_Error", bound=Exception)
_OURS = __name__.partition(".")[0] + "."


_CALLER: ContextVar[Path | None] = ContextVar("_CALLER", default=None)


def shows_caller(function: Callable[_Given, _Returned]) -> Callable[_Given, _Returned]:
    """Return *function* with tracebacks of our own errors that end at the line of the test."""

    @wraps(function)
    def call(*args: _Given.args, **kwargs: _Given.kwargs) -> _Returned:
        __tracebackhide__ = True
        try:
            return function(*args, **kwargs)
        except (ClnrmError, ScenarioFailedError, TypeError, ValueError) as error:
            raise plain(error) from None

    return call


def calling_file() -> Path:
    """Return the file whose code has called us; it is not absolute for code that is in none."""
    if (known := _CALLER.get()) is not None:
        return known
    frame = sys._getframe(1)  # noqa: SLF001
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame = frame.f_back
    return Path(frame.f_code.co_filename)


def called_from(file: Path, work: Callable[[], _Returned]) -> _Returned:
    """Return what *work* returns, which code of *file* asks for, though perhaps in another thread."""
    token = _CALLER.set(file)
    try:
        return work()
    finally:
        _CALLER.reset(token)


def calling_folder(otherwise: str) -> str:
    """Return the folder of the file whose code has called us, to which its paths are relative.

    :param otherwise: for code that is in no file.
    """
    file = calling_file()
    return str(file.parent) if file.is_absolute() else otherwise


def plain(error: _Error) -> _Error:
    """Return *error* without the frames that it went through, and without its cause."""
    error.__cause__ = error.__context__ = None
    error.__traceback__ = None
    return error
