"""Rendering ``{{ ... }}`` and ``{% ... %}`` in scenario files, and captured values in steps.

Three moments: a file with statements is rendered whole, before it is parsed (:meth:`Renderer.render_text`);
else each string by itself (:meth:`Renderer.render_value`); what names captured values is left as it is and
rendered when the step runs (:mod:`pytest_clnrm.scenario.templates.binding`). Strings without a template
never load Jinja2.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_clnrm.model.service import HOST_NAME
from pytest_clnrm.scenario.matrix import as_text
from pytest_clnrm.scenario.templates.environ import FROZEN_S, Environ, EnvironText
from pytest_clnrm.scenario.templates.functions import MAX_TEXT, Stream, functions
from pytest_clnrm.util.confined import OutOfTimeError, note

if TYPE_CHECKING:
    from jinja2 import Template, nodes

    from pytest_clnrm.model.key_path import KeyPath
    from pytest_clnrm.model.step import Step
    from pytest_clnrm.scenario.templates.sandbox import ScenarioEnvironment

_MAX_MADE = 32 * MAX_TEXT
_NAME = re.compile(r"(?<!\{)\{\{ *([A-Za-z_]\w*(?:\.(?:[A-Za-z_]\w*|\d{1,9})){,9}) *\}\}", re.ASCII)
ONE_NAME = re.compile(r"\s*\{\{-?\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*-?\}\}\s*", re.ASCII)
"""A string that is one template, which names something."""
BOUND = ("action", "expect", "checks")
"""What of a step may name captured values."""
_WORDS = frozenset({
    "and", "else", "false", "False", "if", "in", "is", "loop", "none", "None", "not", "or", "self", "true",
    "True",
})  # fmt: skip


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


class Made:
    """How much text the templates of one file have made, in characters."""

    def __init__(self) -> None:
        self._left = _MAX_MADE

    def add(self, text: str, path: KeyPath) -> str:
        """Return *text*, which a template has made.

        :raises TemplateError: if it is too much altogether.
        """
        self._left -= len(text)
        if self._left < 0:
            raise TemplateError(f"the file's templates make more than {_MAX_MADE} characters", path=path)
        return text


def is_plain(value: Any) -> bool:
    """Tell whether templates in *value*, at any depth, only name things: ``{{ name }}``, ``{{ a.b }}``."""
    if isinstance(value, str):
        return not _is_template(value) or not _is_template(_NAME.sub(" ", value))
    if isinstance(value, Mapping):
        return all(map(is_plain, value.values()))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return all(is_plain(getattr(value, each.name)) for each in dataclasses.fields(value))
    return not isinstance(value, (list, tuple)) or all(map(is_plain, value))


class Renderer:
    """Renders the templates of one item's file.

    :param variables: ``{{ name }}`` and ``{{ vars.name }}``.
    :param matrix: ``{{ matrix.axis }}``.
    :param env_allowed: environment variables that may be named.
    :param seed: what looks random is derived from it: the same text in each process.
    :param deferred: captured names, whose values are known when the steps run.
    :param now_s: what :func:`moment` gave.
    :param made: counts what all templates of the file make.
    :param param: ``{{ param.name }}``.
    :param quoted: names whose values stand for themselves where they are put in: what a ``{{ ... }}`` gives
        that names one of them goes through *quote*.
    :param quote: returns what stands for a text alone, as :func:`re.escape` does.
    """

    def __init__(  # noqa: PLR0917 what may be named, then what it is made of
        self,
        variables: Mapping[str, Any],
        matrix: Mapping[str, str],
        env_allowed: tuple[str, ...],
        environ: Mapping[str, str],
        seed: str,
        deferred: frozenset[str] = frozenset(),
        now_s: float = FROZEN_S,
        made: Made | None = None,
        param: Mapping[str, str] | None = None,
        quoted: frozenset[str] = frozenset(),
        quote: Callable[[str], str] = str,
    ) -> None:
        self._environ = Environ(environ, env_allowed)
        own = variables.get("env")
        first: dict[str, Any] = {}
        if isinstance(own, str):
            first["env"] = EnvironText(own)
            first["env"]._environ = self._environ  # noqa: SLF001 a str takes no more arguments
        others = {"vars": variables, "matrix": matrix, "env": self._environ, "host": HOST_NAME}
        if param:
            others["param"] = param
        # Not a copy: there is a renderer for each variable that has a template.
        self._names: Mapping[str, Any] = ChainMap(first, variables, others)  # type: ignore[arg-type]
        self._deferred = deferred
        self._quoted = quoted
        self._quote = quote
        self._made = made or Made()
        self._globals = functions(Stream(seed), now_s, self._environ)

    @functools.cached_property
    def _whole(self) -> ScenarioEnvironment:
        return self._environment(comments=True)

    @functools.cached_property
    def _strings(self) -> ScenarioEnvironment:
        return self._environment(comments=False)

    def _environment(self, *, comments: bool) -> ScenarioEnvironment:
        from pytest_clnrm.scenario.templates.sandbox import ScenarioEnvironment

        return ScenarioEnvironment(
            self._globals, self._names, comments=comments, quoted=self._quoted, quote=self._quote
        )

    def render_text(self, text: str, keep: frozenset[str] = frozenset()) -> str:
        """Return the rendered text of a whole file; what names captured values stays as it is.

        :param keep: what is to stay as it is too, unless there is a variable of that name.
        :raises TemplateError: with the line.
        """
        kept = _kept(self._whole, text, self._deferred | {each for each in keep if each not in self._names})
        return self._made.add(_render(self._whole, kept, self._names, ()), ())

    def render_value(self, value: Any, path: KeyPath = ()) -> Any:
        """Return *value* with the strings in it rendered, at any depth of dicts and lists.

        Strings that name captured values keep the blocks that do; what else they name is filled in.

        :param path: the keys that lead to *value*, for messages.
        :raises TemplateError: with the path.
        """
        if isinstance(value, str):
            return self._made.add(self._string(value, path), path) if _is_template(value) else value
        if isinstance(value, dict):
            return {key: self.render_value(each, (*path, key)) for key, each in value.items()}
        if isinstance(value, list):
            return [self.render_value(each, (*path, index)) for index, each in enumerate(value)]
        return value

    def _string(self, text: str, path: KeyPath) -> str:
        plain = self._plain(text)
        if plain is not None:
            return plain
        env = self._strings
        if not names_deferred(text, self._deferred):
            return _render(env, text, self._names, path)
        if "{%" in text:
            return text  # a statement may depend on the captured value: all of it waits

        def filled(block: str) -> str:
            waits = names_deferred(block, self._deferred)
            return block if waits else _literal(_render(env, block, self._names, path))

        return "".join(map(filled, _blocks(env, text)))

    def _plain(self, text: str) -> str | None:
        """Return *text* rendered if it only names what there is, else None: Jinja2 tells what is wrong."""
        if "\r" in text or not is_plain(text):
            return None
        waits = names_deferred(text, self._deferred)

        def filled(block: re.Match[str]) -> str:
            first, *more = block[1].split(".")
            if first in self._deferred:
                return block[0]
            value = self._named(first, more)
            if first in self._quoted:
                value = self._quote(value)
            # The text is rendered once more when the step runs, so what is filled in now must survive that.
            return _literal(value) if waits else value

        try:
            return _NAME.sub(filled, text)
        except (LookupError, TypeError, ValueError):
            return None

    def _named(self, first: str, more: list[str]) -> str:
        """Return the value that a name and the keys behind it mean.

        :raises LookupError: if there is none.
        :raises TypeError: if it is neither text nor number, or has no keys.
        :raises ValueError: if it may not be read.
        """
        value = None if first in _WORDS else self._names[first]
        for name in more:
            if not isinstance(value, (Mapping, Environ)):
                raise TypeError(name)
            value = value[name]
        if not isinstance(value, (str, int, float)):
            raise TypeError(first)
        return as_text(value)


def bind_texts(texts: Mapping[str, str], values: Mapping[str, Any], path: KeyPath) -> dict[str, str]:
    """Return *texts* with their templates rendered.

    :param values: what they may name.
    :param path: of the table in which they stand.
    :raises TemplateError: with the path in the file as its author wrote it.
    """
    renderer = Renderer(values, {}, (), {}, seed=str(path))
    return {key: renderer.render_value(each, (*path, key)) for key, each in texts.items()}


def names_deferred(value: Any, deferred: AbstractSet[str]) -> bool:
    """Tell whether a string in *value*, at any depth, names one of *deferred* in a template."""
    return bool(deferred) and any(
        _is_template(text) and not deferred.isdisjoint(names_in(text)) for text in strings_in(value)
    )


def names_in_step(step: Step) -> set[str]:
    """Return the names that strings of *step* use when it runs."""
    values = [getattr(step, name) for name in BOUND]
    return {name for text in strings_in(values) for name in names_in(text)}


def strings_in(value: Any) -> Iterator[str]:
    """Yield each string in *value*, at any depth of tables, lists and dataclasses."""
    if isinstance(value, str):
        yield value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        # The place in the file is no text that could hold a template.
        names = [each.name for each in dataclasses.fields(value) if each.name != "at"]
        yield from strings_in([getattr(value, name) for name in names])
    elif isinstance(value, Mapping):
        yield from strings_in(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from strings_in(each)


def _is_template(text: str) -> bool:
    """Tell whether *text* holds a template: a statement that is not closed, ``printf '{%s}'``, is none."""
    statement = text.find("{%")
    return "{{" in text or (statement >= 0 and text.find("%}", statement) > 0)


def names_in(text: str) -> set[str]:
    """Return the names that *text* uses and does not define; none if it is no valid template."""
    if is_plain(text):
        return {block[1].partition(".")[0] for block in _NAME.finditer(text)} - _WORDS
    from jinja2 import TemplateError as JinjaError
    from jinja2 import meta

    tree = parsed(text)
    try:
        return set() if tree is None else meta.find_undeclared_variables(tree)
    except (JinjaError, RecursionError):
        # It can be parsed, but not compiled: it uses a filter or test that there is none of.
        return set()


def parsed(text: str) -> nodes.Template | None:
    """Return the parts of a template, None if it is no valid one."""
    from jinja2 import TemplateError as JinjaError

    try:
        return _plain_environment().parse(text)
    except (JinjaError, RecursionError):
        return None


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each part of a template; together they are *text*.

    :raises TemplateError: if it is no valid template.
    """
    from jinja2 import TemplateError as JinjaError

    try:
        yield from ((kind, value) for _, kind, value in _plain_environment().lex(text))
    except JinjaError as error:
        raise TemplateError(f"the template is not valid: {error}") from None


@functools.cache
def _plain_environment() -> ScenarioEnvironment:
    from pytest_clnrm.scenario.templates.sandbox import ScenarioEnvironment

    return ScenarioEnvironment({}, {}, comments=False)


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
    kept = deferred & names_in(text)
    if not kept:
        return text

    def guarded(block: str) -> str:
        waits = block.startswith("{{") and names_deferred(block, kept)
        return f"{{% raw %}}{block}{{% endraw %}}" if waits else block

    return "".join(map(guarded, _blocks(env, text)))


def _literal(text: str) -> str:
    """Return a template that renders to *text*."""
    return text.replace("{{", "{{ '{{' }}").replace("{%", "{{ '{%' }}") if "{" in text else text


def _render(env: ScenarioEnvironment, text: str, names: Mapping[str, Any], path: KeyPath) -> str:
    if len(text) > MAX_TEXT:
        raise TemplateError(f"the template is longer than {MAX_TEXT} characters", path=path)
    parts: list[str] = []
    size = 0
    template: Template | None = None
    try:
        env.budget.restart()
        template = env.from_string(text)
        for part in template.generate(names):
            size += len(part)
            if size > MAX_TEXT:
                break
            parts.append(part)
    except OutOfTimeError as error:
        # Jinja2 translates the lines of its own errors to those of the template, but not of this one.
        if template is not None and not path and (line := _line(error)):
            note(json.dumps([template.get_corresponding_lineno(line), ""]).encode())
        raise
    except Exception as error:  # noqa: BLE001 whatever a template does, the mistake is the template's
        _refuse(error, path, in_string=env.comment_start_string != "{#")
    if size > MAX_TEXT:
        raise TemplateError(f"the rendered text gets longer than {MAX_TEXT} characters", path=path)
    return "".join(parts)


def _refuse(error: Exception, path: KeyPath, *, in_string: bool) -> NoReturn:
    from jinja2 import TemplateSyntaxError, UndefinedError
    from jinja2.exceptions import SecurityError

    from pytest_clnrm.scenario.templates.sandbox import BRACES

    line = 0
    if isinstance(error, TemplateSyntaxError):
        message, line = f"the template is not valid: {error.message}", error.lineno
        if in_string:
            message += f"; {BRACES}"
    elif isinstance(error, RecursionError):
        message = "the template is nested too deeply"
    elif isinstance(error, MemoryError):
        message = "the template takes too much memory"
    elif isinstance(error, TypeError) and "no loader" in str(error):
        message = "a template cannot include, import or extend other files"
    elif isinstance(error, (UndefinedError, SecurityError, ValueError)):
        message = str(error)
    else:
        message = f"the template fails: {error or type(error).__name__}"
    raise TemplateError(message, path=path, line=0 if in_string else line or _line(error)) from None


def _line(error: BaseException) -> int:
    """Return the line of the template in which *error* was raised, 0 if it was in none."""
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
