"""Our errors in Python tests: pytest shows the line of the test that caused them, and no frame of ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.items.failures import ScenarioFailedError

_Given = ParamSpec("_Given")
_Returned = TypeVar("_Returned")
_Error = TypeVar("_Error", bound=Exception)
_OURS = __name__.partition(".")[0] + "."


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
    frame = sys._getframe(1)  # noqa: SLF001
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame = frame.f_back
    return Path(frame.f_code.co_filename)


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
