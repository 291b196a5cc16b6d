"""Trying a scenario again that has failed: how often, after what, and who does it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_clnrm.model.result import Failure, Result
from pytest_clnrm.report.failure_text import attempt_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_clnrm.settings.settings import Settings

_RERUNS = "rerunfailures"


def retries_of(item: pytest.Item, own: int | None, settings: Settings) -> int:
    """Return how often a scenario is tried again when it fails.

    It is not where a failure is expected, and where pytest-rerunfailures was told to run it again.

    :param own: what its file says, None if that says nothing.
    """
    number = settings.retries if own is None else own
    if number and (is_tried_by_none(item, settings) or _reruns_anyway(item)):
        return 0
    return number


def is_tried_by_none(item: pytest.Item, settings: Settings) -> bool:
    """Tell whether nothing is tried again, or not what is expected to fail."""
    # With repetitions the first failure is what is looked for.
    return settings.repeat > 1 or _is_expected_to_fail(item)


def is_worth_another(result: Result) -> bool:
    """Tell whether a scenario that ended like *result* is tried again: it failed, and by its own doing."""
    return bool(result.failures) and not result.is_infrastructure


def claim(item: pytest.Item, own: int | None, settings: Settings) -> None:
    """Let pytest-rerunfailures leave a scenario alone that is tried again, or repeated, by us."""
    ours = settings.repeat > 1 or retries_of(item, own, settings)
    if ours and item.config.pluginmanager.hasplugin(_RERUNS):
        item.add_marker(pytest.mark.flaky(reruns=0), append=False)


def is_left_to_rerunfailures(item: pytest.Item) -> bool:
    """Tell whether pytest-rerunfailures runs a Python test again, for whatever reason."""
    config = item.config
    if not config.pluginmanager.hasplugin(_RERUNS):
        return False
    everywhere = config.getoption("reruns", None)
    if everywhere is None:
        everywhere = config.getini("reruns")
    return _reruns_anyway(item) or (
        item.get_closest_marker("flaky") is None and str(everywhere or 0).strip() not in {"", "0"}
    )


def _is_expected_to_fail(item: pytest.Item) -> bool:
    return not item.config.getoption("runxfail", default=False) and any(item.iter_markers("xfail"))


def _reruns_anyway(item: pytest.Item) -> bool:
    """Tell whether pytest-rerunfailures has been told to run just this item again, or all, come what may."""
    config = item.config
    if not config.pluginmanager.hasplugin(_RERUNS):
        return False
    if config.getoption("force_reruns", None) is not None:
        return True
    if config.getoption("reruns_mode", None) == "append" and config.getoption("reruns", None):
        return True
    mark = item.get_closest_marker("flaky")
    return mark is not None and mark.kwargs.get("reruns", mark.args[0] if mark.args else 1) != 0


def with_earlier(result: Result, earlier: Sequence[Result]) -> Result:
    """Return a result that knows the attempts before it."""
    if not earlier:
        return result
    return replace(
        result, earlier=tuple(earlier), attempts=len(earlier) + 1, is_flaky=result.outcome == "passed"
    )


def as_failure(result: Result, where: str) -> Result:
    """Return a flaky scenario as one that has failed, as ``--clnrm-flaky fail`` wants it.

    :param where: ``file:line`` of the scenario.
    """
    told = f"flaky: it passed in attempt {result.attempts}, and failed before (--clnrm-flaky fail)"
    failure = Failure(message=told, where=where, details="\n".join(attempt_lines(result.earlier)))
    return replace(result, outcome="failed", failures=(failure,))
