"""The variables of a file, and the names that its steps capture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from pytest_clnrm.errors import MAX_MISTAKES
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.matrix import as_text
from pytest_clnrm.scenario.templates.places import SERVICE, USERS
from pytest_clnrm.scenario.templates.render import (
    Renderer,
    TemplateError,
    is_plain,
    names_deferred,
    names_in,
)
from pytest_clnrm.toml.positions import leaves

_RESERVED = ("vars", "matrix")
_STEPS = ("setup", "step", "cleanup")
_FIXED = frozenset(
    {"capture", "continue_on_failure", "image", "name", "retry", "service", "timeout", "until"}
)
"""What of a step is known before it runs; the rest may name captured values."""
_AT_THE_END = ("expect", "check")
"""What is judged when the steps are over."""


def variable_tables(document: Mapping[str, Any]) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Yield the tables of variables of a file, each with its path: the older dialect's comes first."""
    template = document.get("template")
    for path, holder in ((("template", "vars"), template), (("vars",), document)):
        table = holder.get("vars") if isinstance(holder, Mapping) else None
        if isinstance(table, dict):
            yield path, table


def override(document: dict[str, Any], values: Mapping[str, object]) -> dict[str, Any]:
    """Return *document*, in which variables of its own have got other values; a secret one stays one."""
    for _, table in variable_tables(document):
        for name, value in values.items():
            if name in table:
                given = table[name]
                table[name] = {**given, "value": value} if _is_marked(given) else value
    return document


@dataclass
class Rendering:
    """Renders one combination of a file; gathers the mistakes of all its templates.

    :param make: returns the renderer for these variables.
    :param tell: is told the path of each string that may take long.
    :ivar values: what ``{{ name }}`` may name.
    :ivar secrets: values that must not be shown.
    :ivar mistakes: path in the file and message.
    """

    make: Callable[[Mapping[str, Any]], Renderer]
    tell: Callable[[KeyPath], None]
    values: dict[str, Any] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    mistakes: list[tuple[KeyPath, str]] = field(default_factory=list)

    def read_variables(self, document: Mapping[str, Any], secret_names: tuple[str, ...]) -> None:
        """Take the variables of a file; each may name those before it."""
        for at, table in variable_tables(document):
            self._read_table(table, at, secret_names)

    def _read_table(self, table: Mapping[str, Any], at: KeyPath, secret_names: tuple[str, ...]) -> None:
        for name, given in table.items():
            path: KeyPath = (*at, name)
            value, secret = given, is_secret(name, given, secret_names)
            if _is_marked(given):
                if secret and given.keys() != set(_MARKS):
                    # A key is misspelt, and which of them holds the secret is not known: hide all.
                    told = [each for each in given.values() if not isinstance(each, bool)]
                    self.secrets.update(filter(None, _texts(told)))
                value, path = given.get("value", ""), (*path, "value")
            if has_template(value):
                value = self.render(self.renderer(), value, path)
            self.values[name] = value
            if secret:
                self.secrets.update(filter(None, _texts(value)))

    def renderer(self) -> Renderer:
        """Return a renderer that knows the variables so far."""
        return self.make(self.values)

    def render(self, renderer: Renderer, value: Any, path: KeyPath) -> Any:
        """Return *value* with its strings rendered; one that cannot be rendered stays, and is a mistake."""
        if isinstance(value, dict):
            return {key: self.render(renderer, each, (*path, key)) for key, each in value.items()}
        if isinstance(value, list):
            return [self.render(renderer, each, (*path, index)) for index, each in enumerate(value)]
        # Further mistakes would not be shown, and finding each takes time.
        if not isinstance(value, str) or len(self.mistakes) >= MAX_MISTAKES:
            return value
        if not is_plain(value):
            self.tell(path)
        try:
            return renderer.render_value(value, path)
        except TemplateError as error:
            self.mistakes.append((path, str(error)))
            return value


_MARKS = ("value", "secret")


def _is_marked(given: Any) -> bool:
    """Tell whether a variable is a table of ``value`` and ``secret``, or such a one with a misspelt key."""
    if not isinstance(given, dict):
        return False
    if "secret" in given or ("value" in given and len(given) > 1):
        return True
    return len(given) == len(_MARKS) and all(_near(key) for key in given)


def _near(key: str) -> str:
    from pytest_clnrm.toml.checking import suggestion

    return suggestion(key, list(_MARKS))


def is_secret(name: str, given: Any, secret_names: tuple[str, ...]) -> bool:
    """Tell whether the variable *name* is to be shown nowhere; one that is wrongly marked is not shown."""
    if name in secret_names:
        return True
    return _is_marked(given) and not (given.keys() == set(_MARKS) and given["secret"] is False)


def has_template(value: Any) -> bool:
    """Tell whether a string in *value*, at any depth, holds a template."""
    return any("{{" in text or "{%" in text for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    """Yield each scalar in *value* as text."""
    return (as_text(each) for _, each in leaves(value))


def check_variables(
    table: Mapping[str, Any], deferred: frozenset[str]
) -> Iterator[tuple[KeyPath, str] | tuple[KeyPath, str, str]]:
    """Yield the mistakes of ``[vars]``."""
    for name, given in table.items():
        if name in _RESERVED:
            yield ("vars", name), f"a variable cannot be called {' or '.join(_RESERVED)}"
        elif name in deferred:
            yield ("vars", name), "a step captures a value of this name; choose another"
        if not _is_marked(given):
            continue
        for key in given.keys() - set(_MARKS):
            allowed = ", ".join(_MARKS)
            message = f'unknown key "{key}"; a variable that says whether it is secret has: {allowed}'
            yield ("vars", name, key), message, _near(key)
        if "value" not in given:
            yield ("vars", name), 'the key "value" is missing'
        if not isinstance(given.get("secret", True), bool):
            yield ("vars", name, "secret"), "expected true or false"


def captured_names(raw: Mapping[str, Any]) -> frozenset[str]:
    """Return the names that steps of a file capture, whatever else is wrong with it."""
    tables = [raw, *_tables(raw.get("scenario"))]
    keys = (*_STEPS, "steps")
    steps = [step for table in tables for key in keys for step in _tables(table.get(key))]
    steps += [step for _, each in resets_in(raw) for step in _tables(each)]
    captures = (step.get("capture") for step in steps)
    return frozenset(name for each in captures if isinstance(each, dict) for name in each)


def _tables(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def resets_in(raw: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the lists of steps by which services of a file are reset, each with its path."""
    services = raw.get("service")
    for name, service in services.items() if isinstance(services, dict) else ():
        reset = service.get("reset") if isinstance(service, dict) else None
        if isinstance(reset, dict) and "steps" in reset:
            yield ("service", name, "reset", "steps"), reset["steps"]


def check_captures(document: Mapping[str, Any], deferred: frozenset[str]) -> Iterator[tuple[KeyPath, str]]:
    """Yield a mistake for each string that names a captured value where it is not known.

    :param document: the canonical form, its other templates rendered.
    """
    if not deferred:
        return
    yield from _of_services(document, deferred - captured_names(document))
    deferred &= captured_names(document)
    anywhere = _captured(document)
    for table in document.get("scenario", ()):
        anywhere |= _captured(table)
    # Those of its setup hold for all scenarios of a file, and those of any scenario may for its cleanup.
    first = _captured({"setup": document.get("setup", ())})
    for index, table in enumerate(document.get("scenario", ())):
        yield from _table(table, ("scenario", index), deferred, first)
    for path, steps in resets_in(document):
        yield from _steps(steps, path, deferred, set(deferred))
    shared = {key: value for key, value in document.items() if key not in {"scenario", "vars"}}
    shared["service"] = _without_resets(document.get("service", {}))
    yield from _table(shared, (), deferred, set(), at_the_end=anywhere)


def _without_resets(services: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return services without the steps by which they are reset."""
    return {
        name: {**table, "reset": {key: each for key, each in table["reset"].items() if key != "steps"}}
        if "reset" in table
        else table
        for name, table in services.items()
    }


def _of_services(document: Mapping[str, Any], names: AbstractSet[str]) -> Iterator[tuple[KeyPath, str]]:
    """Yield a mistake for each string that names what is known only when services run, but in steps."""
    if not names:
        return
    when = "where services do not run yet: steps, checks, and env of services that depend on them may"
    own: list[tuple[KeyPath, Any]] = [
        ((key,), each) for key, each in document.items() if key not in {"scenario", "vars"}
    ]
    for index, table in enumerate(document.get("scenario", ())):
        own += [(("scenario", index, key), each) for key, each in table.items()]
    for path, value in own:
        if path[-1] in _STEPS:
            yield from _fixed(value, path, names, when)
        elif path == ("service",):
            yield from _in_services(value, names, when)
        elif path[-1] == "expect":
            yield from _unknown(value, path, names, "where they may be gone: steps and checks may")
        elif path[-1] != "check":
            yield from _unknown(value, path, names, when)


def _fixed(steps: Any, path: KeyPath, names: AbstractSet[str], when: str) -> Iterator[tuple[KeyPath, str]]:
    """Yield a mistake for each string that must be known before steps run, and names what is not."""
    for index, step in enumerate(steps):
        for key in _FIXED.intersection(step):
            yield from _unknown(step[key], (*path, index, key), names, when)


def _in_services(
    tables: Mapping[str, Mapping[str, Any]], names: AbstractSet[str], when: str
) -> Iterator[tuple[KeyPath, str]]:
    """Yield a mistake for each string of a service that names what is not known when it starts.

    Who uses it, and what it depends on, is known where its container is its scenario's own; of a shared one
    it is known to what is run in it for its users, and a reset finds it running.
    """
    for name, table in tables.items():
        own = table.get("scope", "scenario") == "scenario"
        for key, value in table.items():
            known = set(USERS) if key == "prepare" else set()
            if key == "reset" or (own and key == "env"):
                known = {*USERS, SERVICE}
            unknown = names - known
            yield from _unknown(value, ("service", name, key), unknown, when)
    for path, steps in resets_in({"service": tables}):
        yield from _fixed(steps, path, names, when)


def _table(
    table: Mapping[str, Any],
    path: KeyPath,
    deferred: frozenset[str],
    known: AbstractSet[str],
    *,
    at_the_end: AbstractSet[str] = frozenset(),
) -> Iterator[tuple[KeyPath, str]]:
    """Yield the mistakes of a file's own tables, or of those of one of its scenarios.

    :param known: the names that are captured before its steps.
    :param at_the_end: those that are besides once steps are over.
    """
    missing = set(deferred - known)
    for key in ("setup", "step"):
        yield from _steps(table.get(key, ()), (*path, key), deferred, missing)
    rest = {name: each for name, each in table.items() if name not in {*_STEPS, *_AT_THE_END}}
    yield from _unknown(rest, path, deferred)
    missing -= at_the_end
    # Spans are judged when the steps are over, so every captured value is known.
    ends = {name: table[name] for name in _AT_THE_END if name in table}
    yield from _unknown(ends, path, missing, "which no step captures")
    yield from _steps(table.get("cleanup", ()), (*path, "cleanup"), deferred, missing)


def _captured(table: Mapping[str, Any]) -> set[str]:
    return {name for key in _STEPS for step in table.get(key, ()) for name in step.get("capture", ())}


def _steps(
    steps: Any, path: KeyPath, deferred: frozenset[str], missing: set[str]
) -> Iterator[tuple[KeyPath, str]]:
    """Yield the mistakes of steps, and take what they capture out of *missing*."""
    for index, step in enumerate(steps):
        for key, value in step.items():
            below = (*path, index, key)
            if key in _FIXED:
                yield from _unknown(value, below, deferred)
            else:
                yield from _unknown(value, below, missing, "before a step captures it")
        missing.difference_update(step.get("capture", ()))


def _unknown(
    value: Any, path: KeyPath, names: AbstractSet[str], when: str = "where captured values are not known"
) -> Iterator[tuple[KeyPath, str]]:
    for at, text in leaves(value, path):
        if isinstance(text, str) and names_deferred(text, names):
            yield at, f'names "{min(names_in(text) & names)}" {when}'
