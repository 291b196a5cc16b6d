"""Rendering ``{{ ... }}`` and ``{% ... %}`` in scenario files, and captured values in steps.

Three moments: a file with statements is rendered whole, before it is parsed (:meth:`Renderer.render_text`);
else each string by itself (:meth:`Renderer.render_value`); what names captured values is left as it is and
rendered when the step runs (:func:`bind_step`). Strings without a template never load Jinja2.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_clnrm.scenario.template_functions import MAX_TEXT, Stream, functions

if TYPE_CHECKING:
    from pytest_clnrm.scenario.model import KeyPath, Step, TextExpect
    from pytest_clnrm.scenario.template_sandbox import ScenarioEnvironment

__all__ = ["Renderer", "TemplateError", "bind_step", "moment", "names_deferred"]

_FROZEN_S = 1735689600.0  # 2025-01-01T00:00:00Z, the moment that most wild files freeze
_UNSET = object()


class TemplateError(ValueError):
    """A template cannot be rendered.

    :param message: what is wrong, in one line.
    :param path: the keys that lead to the string, () in a whole file.
    :param line: 1-based line in the whole file, 0 if it is not known.
    """

    def __init__(self, message: str, *, path: KeyPath = (), line: int = 0) -> None:
        super().__init__(message)
        self.path = path
        self.line = line


def moment(frozen: object, environ: Mapping[str, str], modified_s: float | None = None) -> float:
    """Return the moment that time functions of templates tell, Unix seconds.

    It must be the same in each process that collects the file, and these share no start time: so it is the
    file's own ``[determinism] freeze_clock``, else ``SOURCE_DATE_EPOCH``, else when the file was modified.

    :param frozen: RFC 3339 text or a datetime; anything else is ignored.
    :param modified_s: the file's time of modification, Unix seconds.
    """
    if isinstance(frozen, str):
        try:
            frozen = datetime.fromisoformat(frozen.strip().replace("Z", "+00:00").replace("z", "+00:00"))
        except ValueError:
            frozen = None
    if isinstance(frozen, datetime):
        return (frozen if frozen.tzinfo else frozen.replace(tzinfo=timezone.utc)).timestamp()
    epoch = environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isascii() and epoch.isdigit():
        return float(epoch)
    return _FROZEN_S if modified_s is None else modified_s


class _Environ:
    """``env`` in templates: ``env.NAME``, ``env["NAME"]``, ``env(name="NAME")``.

    :param allowed: names that may be read; no others, as the environment holds a CI's secrets.
    """

    def __init__(self, environ: Mapping[str, str], allowed: tuple[str, ...]) -> None:
        self._environ = environ
        self._allowed = frozenset(allowed)

    def __getitem__(self, name: str) -> str:
        if name.startswith("PYTEST_XDIST"):
            raise ValueError(f"environment variable {name} differs between workers and cannot be used")
        if name not in self._allowed and name in self._environ:
            raise ValueError(self.why_missing(name))
        return self._environ[name]

    def __call__(self, name: str, default: Any = _UNSET) -> Any:
        try:
            return self[name]
        except KeyError:
            if default is _UNSET:
                raise ValueError(self.why_missing(name)) from None
            return default

    def why_missing(self, name: str) -> str:
        """Return why *name* cannot be read."""
        if name in self._allowed:
            return f"environment variable {name} is not set"
        return f"environment variable {name} is not listed in clnrm_env"


class _EnvironText(str):
    """A variable of the file that is called ``env``, which still is the environment where it is asked."""

    __slots__ = ("_environ",)
    _environ: _Environ

    def __getitem__(self, name: Any) -> str:
        return self._environ[name] if isinstance(name, str) else super().__getitem__(name)

    def __call__(self, name: str, default: Any = _UNSET) -> Any:
        return self._environ(name, default)

    def why_missing(self, name: str) -> str:
        """Return why *name* cannot be read."""
        return self._environ.why_missing(name)


class Renderer:
    """Renders the templates of one item's file.

    :param variables: ``{{ name }}`` and ``{{ vars.name }}``.
    :param matrix: ``{{ matrix.axis }}``.
    :param env_allowed: environment variables that may be named.
    :param seed: what looks random is derived from it: the same text in each process.
    :param deferred: captured names, whose values are known when the steps run.
    :param now_s: what :func:`moment` gave.
    """

    def __init__(  # noqa: PLR0917 what may be named, then what it is made of
        self,
        variables: Mapping[str, Any],
        matrix: Mapping[str, str],
        env_allowed: tuple[str, ...],
        environ: Mapping[str, str],
        seed: str,
        deferred: frozenset[str] = frozenset(),
        now_s: float = _FROZEN_S,
    ) -> None:
        self._environ = _Environ(environ, env_allowed)
        self._names = {"vars": variables, "matrix": matrix, "env": self._environ, **variables}
        own = variables.get("env")
        if isinstance(own, str):
            self._names["env"] = _EnvironText(own)
            self._names["env"]._environ = self._environ  # noqa: SLF001 a str takes no more arguments
        self._deferred = deferred
        self._globals = functions(Stream(seed), now_s, self._environ)

    @functools.cached_property
    def _whole(self) -> ScenarioEnvironment:
        return self._environment(comments=True)

    @functools.cached_property
    def _strings(self) -> ScenarioEnvironment:
        return self._environment(comments=False)

    def _environment(self, *, comments: bool) -> ScenarioEnvironment:
        from pytest_clnrm.scenario.template_sandbox import ScenarioEnvironment

        return ScenarioEnvironment(self._globals, self._names, comments=comments)

    def render_text(self, text: str) -> str:
        """Return the rendered text of a whole file; what names captured values stays as it is.

        :raises TemplateError: with the line.
        """
        return _render(self._whole, _kept(self._whole, text, self._deferred), self._names, ())

    def render_value(self, value: Any, path: KeyPath = ()) -> Any:
        """Return *value* with the strings in it rendered, at any depth of dicts and lists.

        Strings that name captured values keep the blocks that do; what else they name is filled in.

        :param path: the keys that lead to *value*, for messages.
        :raises TemplateError: with the path.
        """
        if isinstance(value, str):
            return self._string(value, path) if _is_template(value) else value
        if isinstance(value, dict):
            return {key: self.render_value(each, (*path, key)) for key, each in value.items()}
        if isinstance(value, list):
            return [self.render_value(each, (*path, index)) for index, each in enumerate(value)]
        return value

    def _string(self, text: str, path: KeyPath) -> str:
        env = self._strings
        if not names_deferred(text, self._deferred):
            return _render(env, text, self._names, path)
        if "{%" in text:
            return text  # a statement may depend on the captured value: all of it waits

        def filled(block: str) -> str:
            waits = names_deferred(block, self._deferred)
            return block if waits else _literal(_render(env, block, self._names, path))

        return "".join(map(filled, _blocks(env, text)))


def names_deferred(value: Any, deferred: frozenset[str]) -> bool:
    """Tell whether a string in *value*, at any depth, names one of *deferred* in a template."""
    if isinstance(value, str):
        return bool(deferred) and _is_template(value) and not deferred.isdisjoint(_names(value))
    if isinstance(value, dict):
        return any(names_deferred(each, deferred) for each in value.values())
    return isinstance(value, (list, tuple)) and any(names_deferred(each, deferred) for each in value)


def bind_step(step: Step, values: Mapping[str, Any]) -> Step:
    """Return *step* with the templates in its strings rendered.

    :param values: the variables of the scenario and the values captured so far; of equal names the
        captured value is expected to stand here.
    :raises TemplateError: with the path in the file as its author wrote it.
    """
    renderer = Renderer(values, {}, (), {}, seed=f"{step.at}{step.name}")

    def bound(value: Any, *keys: str | int) -> Any:
        path = (*step.at, *keys)
        if isinstance(value, tuple):
            return tuple(renderer.render_value(list(value), path))
        return renderer.render_value(dict(value) if isinstance(value, Mapping) else value, path)

    def bound_text(expected: TextExpect | None, stream: str) -> TextExpect | None:
        if expected is None:
            return None
        names = ("contains", "not_contains", "regex", "not_regex", "equals", "json")
        changes = {name: bound(getattr(expected, name), "expect", stream, name) for name in names}
        return dataclasses.replace(expected, **changes)

    changes = {name: bound(getattr(step, name), name) for name in ("run", "env", "workdir", "user", "stdin")}
    expect = dataclasses.replace(
        step.expect,
        stdout=bound_text(step.expect.stdout, "stdout"),
        stderr=bound_text(step.expect.stderr, "stderr"),
    )
    return dataclasses.replace(step, **changes, expect=expect, templated=False)


def _is_template(text: str) -> bool:
    return "{{" in text or "{%" in text


def _names(text: str) -> set[str]:
    """Return the names that *text* uses and does not define; none if it is no valid template."""
    from jinja2 import TemplateError as JinjaError
    from jinja2 import meta

    try:
        return meta.find_undeclared_variables(_plain_environment().parse(text))
    except (JinjaError, RecursionError):
        return set()


@functools.cache
def _plain_environment() -> ScenarioEnvironment:
    from pytest_clnrm.scenario.template_sandbox import ScenarioEnvironment

    return ScenarioEnvironment({}, (), comments=False)


def _blocks(env: ScenarioEnvironment, text: str) -> Iterator[str]:
    """Yield *text* cut into ``{{ ... }}`` blocks, raw blocks and what stands between them."""
    block = ""
    for _, kind, value in env.lex(text):
        if kind in {"variable_begin", "raw_begin"} and block:
            yield block
            block = ""
        block += value
        if kind in {"variable_end", "raw_end"}:
            yield block
            block = ""
    if block:
        yield block


def _kept(env: ScenarioEnvironment, text: str, deferred: frozenset[str]) -> str:
    """Return *text* in which blocks that name captured values stand for themselves."""
    kept = deferred & _names(text)
    if not kept:
        return text

    def guarded(block: str) -> str:
        waits = block.startswith("{{") and names_deferred(block, kept)
        return f"{{% raw %}}{block}{{% endraw %}}" if waits else block

    return "".join(map(guarded, _blocks(env, text)))


def _literal(text: str) -> str:
    """Return a template that renders to *text*."""
    return text.replace("{{", "{{ '{{' }}").replace("{%", "{{ '{%' }}") if _is_template(text) else text


def _render(env: ScenarioEnvironment, text: str, names: Mapping[str, Any], path: KeyPath) -> str:
    if len(text) > MAX_TEXT:
        raise TemplateError(f"the template is longer than {MAX_TEXT} characters", path=path)
    parts: list[str] = []
    size = 0
    try:
        env.budget.restart()
        for part in env.from_string(text).generate(names):
            size += len(part)
            if size > MAX_TEXT:
                break
            parts.append(part)
    except Exception as error:  # noqa: BLE001 whatever a template does, the mistake is the template's
        _refuse(error, path, in_string=env.comment_start_string != "{#")
    if size > MAX_TEXT:
        raise TemplateError(f"the rendered text gets longer than {MAX_TEXT} characters", path=path)
    return "".join(parts)


def _refuse(error: Exception, path: KeyPath, *, in_string: bool) -> NoReturn:
    from jinja2 import TemplateSyntaxError, UndefinedError
    from jinja2.exceptions import SecurityError

    line = 0
    if isinstance(error, TemplateSyntaxError):
        message, line = f"the template is not valid: {error.message}", error.lineno
    elif isinstance(error, RecursionError):
        message = "the template is nested too deeply"
    elif isinstance(error, TypeError) and "no loader" in str(error):
        message = "a template cannot include, import or extend other files"
    elif isinstance(error, (UndefinedError, SecurityError, ValueError)):
        message = str(error)
    else:
        message = f"the template fails: {error or type(error).__name__}"
    trace = error.__traceback__
    while trace is not None and not isinstance(error, TemplateSyntaxError):
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    raise TemplateError(message, path=path, line=0 if in_string else line) from None
