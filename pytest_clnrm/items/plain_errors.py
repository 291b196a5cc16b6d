"""Our errors in Python tests: pytest shows the line of the test that caused them, and no frame of ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from pytest_clnrm.errors import ClnrmError

_Given = ParamSpec("_Given")
_Returned = TypeVar("_Returned")
_Error = TypeVar("_Error", bound=Exception)


def shows_caller(function: Callable[_Given, _Returned]) -> Callable[_Given, _Returned]:
    """Return *function* with tracebacks of our own errors that end at the line of the test."""

    @wraps(function)
    def call(*args: _Given.args, **kwargs: _Given.kwargs) -> _Returned:
        __tracebackhide__ = True
        try:
            return function(*args, **kwargs)
        except (ClnrmError, ValueError) as error:
            raise plain(error) from None

    return call


def plain(error: _Error) -> _Error:
    """Return *error* without the frames that it went through, and without its cause."""
    error.__cause__ = error.__context__ = None
    error.__traceback__ = None
    return error
