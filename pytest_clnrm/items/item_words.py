"""What is shown of a scenario that failed: in words of its file, without secrets, in forms of pytest."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import pytest
from _pytest._code.code import ExceptionChainRepr, ReprEntry

from pytest_clnrm.items.failures import cleaned, is_infrastructure, scenario_repr
from pytest_clnrm.model.result import Failure, Result
from pytest_clnrm.report.failure_text import Explained, explain, explain_rest
from pytest_clnrm.scenario.locating import source_of as source_of_step
from pytest_clnrm.settings.options import options_to_repeat
from pytest_clnrm.util.terminal_text import one_line, shown

if TYPE_CHECKING:
    from _pytest._code.code import TerminalRepr

    from pytest_clnrm.items.file_node import FileNode
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.util.redaction import Redactor


class ItemWords:
    """Says what went wrong with one scenario.

    :param scenario: returns it.
    :param name: by which it is run again.
    :param redactor: hides its secrets; learns those that steps capture.
    """

    def __init__(
        self, file: FileNode, scenario: Callable[[], Scenario], name: str, redactor: Redactor
    ) -> None:
        self._file = file
        self._scenario = scenario
        self._name = name
        self._redactor = redactor

    def clean(self, text: str) -> str:
        """Return *text* without secrets and without control characters for a terminal."""
        return shown(self._redactor.text(text))

    def foreign(self, error: BaseException, where: str) -> Failure:
        """Return another's exception as a failure, for the report."""
        blameless = is_infrastructure(error)
        failure = Failure(kind="error", message=in_one_line(error), where=where, is_infrastructure=blameless)
        return self._redactor.result(failure)

    def explained(self, result: Result, artifacts: Iterable[str], itself: str = "") -> ExceptionChainRepr:
        """Return a failed scenario in words, and how to run it again.

        :param artifacts: the paths of what was kept, as they are shown.
        :param itself: what is to be run again; "" for the scenario's item.
        """

        def source_of(index: int) -> tuple[int, tuple[str, ...]]:
            return source_of_step(self._file.real_path, self._scenario().steps[index].at)

        itself = itself or f"{self._file.shown_path()}::{self._name}"
        again = shlex.join(["pytest", *options_to_repeat(self._file.config), itself])
        rest = explain_rest(result, again, artifacts=os.path.commonpath([*artifacts] or [""]))
        return self.repr_of(explain(result, source_of=source_of), rest)

    def repr_of(self, failures: Iterable[Explained], rest: Iterable[str] = ()) -> ExceptionChainRepr:
        """Return what pytest shows of *failures*, and of lines below them."""
        return scenario_repr(
            failures,
            rest,
            path=self._file.path,
            shown_path=self._file.shown_path(),
            line=self._scenario().line,
            native=self._file.config.getoption("tbstyle", "") == "native",
            clean=self.clean,
        )

    def with_frames(self, ours: ExceptionChainRepr, foreign: TerminalRepr) -> ExceptionChainRepr:
        """Return *ours*, below it the project's own frames of the exception that has ended the scenario."""
        if isinstance(foreign, ExceptionChainRepr) and foreign.chain:
            entries = foreign.chain[-1][0].reprentries
            kept = [each for each in entries if isinstance(each, ReprEntry) and each.reprfileloc is not None]
            for each in kept:
                # A signal's handler gets a frame of ours.
                each.reprfuncargs = None
            if kept:
                ours.reprtraceback.reprentries = [*ours.reprtraceback.reprentries, *kept]
        cleaned(ours, self.clean)
        return ours


def in_one_line(error: BaseException) -> str:
    """Return an exception as pytest names it, in one line."""
    return one_line(pytest.ExceptionInfo.from_exception(error).exconly(tryshort=True).strip())
