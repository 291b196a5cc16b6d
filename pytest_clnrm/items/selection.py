"""What a scenario file says of which scenarios run as pytest's own marks, and what only the engine tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

from pytest_clnrm.items.failures import ScenarioFailedError
from pytest_clnrm.model.selection import Selection, SkipIf

if TYPE_CHECKING:
    from pytest_clnrm.runtime.runtime import Runtime


def marks_of(
    selection: Selection, environ: Mapping[str, str], platform: str, clean: Callable[[str], str]
) -> Iterator[pytest.MarkDecorator]:
    """Yield the marks, as a Python test would have them.

    :param platform: as ``sys.platform`` has it.
    :param clean: removes secrets: anybody may show the reason of a mark.
    """
    if selection.skip:
        yield pytest.mark.skip(reason=clean(selection.skip))
    for condition in selection.skip_if:
        why = _why(condition, environ, platform)
        if why is None or not condition.engine:
            reason = clean(condition.reason or why or "its condition holds")
            yield pytest.mark.skipif(why is not None, reason=reason)
    xfail = selection.xfail
    if xfail is not None:
        kind = None if xfail.errors else ScenarioFailedError
        yield pytest.mark.xfail(reason=clean(xfail.reason), strict=xfail.strict, raises=kind)


def why_not_on(selection: Selection, runtime: Runtime, environ: Mapping[str, str], platform: str) -> str:
    """Return why a scenario is skipped on the engine in use, "" if it is not; the engine is asked if needed.

    :raises EngineError: if it is needed, and none can be used.
    """
    for condition in selection.skip_if:
        why = _why(condition, environ, platform) if condition.engine else None
        if why is not None and (kind := runtime.engine().facts.kind) in condition.engine:
            return condition.reason or " and ".join(filter(None, (why, f"the engine is {kind}")))
    return ""


def _why(condition: SkipIf, environ: Mapping[str, str], platform: str) -> str | None:
    """Return in words what holds of a condition but for its engine, None if it does not."""
    unset = [name for name in condition.missing_env if not environ.get(name)]
    holds = (
        all(environ.get(name) for name in condition.env)
        and bool(unset or not condition.missing_env)
        and (not condition.platform or platform in condition.platform)
        and condition.when is not False
    )
    if not holds:
        return None
    told = [f"{name} is set" for name in condition.env]
    told += [f"{name} is not set" for name in unset]
    told += [f"the platform is {platform}"] if condition.platform else []
    told += ["its condition holds"] if condition.when else []
    return " and ".join(told)
