"""Hidden items, which no test is made of: up to one of them the fixtures of others are torn down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


class FlushItem(pytest.Item):
    """A hidden item directly below the session."""

    clnrm_hidden = True

    def runtest(self) -> None:
        """Raise: it is never run as a test."""
        raise AssertionError

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return what messages call it."""
        return self.path, 0, self.name


def tear_down(session: pytest.Session, last: pytest.Item | None, nextitem: pytest.Item | None) -> None:
    """Tear down what *nextitem* does not need, and report an error as one of *last*, which ran last."""
    call = pytest.CallInfo.from_call(
        lambda: session._setupstate.teardown_exact(nextitem),  # noqa: SLF001 - there is no public way
        when="teardown",
        reraise=(pytest.exit.Exception, KeyboardInterrupt),
    )
    if call.excinfo is None or last is None:
        return
    report = last.ihook.pytest_runtest_makereport(item=last, call=call)
    # xdist stamps reports with the index of the item that it believes to be running.
    plugins = session.config.pluginmanager.get_plugins()
    interactor: Any = next((each for each in plugins if type(each).__name__ == "WorkerInteractor"), None)
    if interactor is None:
        last.ihook.pytest_runtest_logreport(report=report)
        return
    running = interactor.item_index
    interactor.item_index = session.items.index(last)
    try:
        last.ihook.pytest_runtest_logreport(report=report)
    finally:
        interactor.item_index = running
