"""Errors as users see them."""

from __future__ import annotations

import pickle

import pytest

from pytest_clnrm import errors
from pytest_clnrm.errors import EngineUnavailableError, Mistake, NotReadyError, ScenarioFileError


def test_a_mistake_shows_place_line_and_caret() -> None:
    """A mistake is rendered with file, line, column, path, hint, the line and a caret below the column."""
    mistake = Mistake(
        line=3,
        column=5,
        path="meta.timeuot",
        message="unknown key",
        source="\ta = timeuot",
        hint="did you mean 'timeout'?",
    )
    assert mistake.render("x.toml") == (
        "x.toml:3:5: meta.timeuot: unknown key (did you mean 'timeout'?)\n    \ta = timeuot\n    \t   ^"
    )


def test_a_mistake_without_a_place() -> None:
    """What is not known is left out."""
    assert Mistake(line=0, column=0, path="", message="empty").render("x.toml") == "x.toml: empty"
    assert Mistake(line=2, column=0, path="", message="m", source="s").render("x") == "x:2: m\n    s"


def test_a_file_error_shows_all_mistakes() -> None:
    """The text of a file's error is that of its mistakes, one after another."""
    mistakes = (
        Mistake(line=0, column=0, path="a", message="m"),
        Mistake(line=0, column=0, path="b", message="n"),
    )
    assert str(ScenarioFileError("f", mistakes)) == "f: a: m\nf: b: n"


@pytest.mark.parametrize(
    "error",
    [
        EngineUnavailableError("no engine", ("tried x",)),
        NotReadyError("service 'db' ended", "db", "log"),
        ScenarioFileError("f", (Mistake(line=1, column=1, path="", message="m"),)),
    ],
)
def test_errors_cross_process_borders(error: errors.ClnrmError) -> None:
    """Errors survive pickling with their properties."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own)
    assert (type(copy), copy.args, str(copy)) == (type(error), error.args, str(error))


def test_exported_names_exist() -> None:
    """Everything in __all__ is there, and every error class is in it."""
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert classes == set(errors.__all__)
