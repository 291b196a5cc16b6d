"""The Jinja2 environment of scenario files: a sandbox that also bounds time and memory.

A scenario file comes with a repository or a pull request; collecting it must neither reach the process nor
hang it. Jinja's sandbox forbids the first. For the second, loops, calls and every text made on the way are
paid for from one :class:`Budget`, and what could make much out of little (``"%999999999d" % 1``,
``center``, ``lipsum``) is not there at all. Imported only where a template is rendered.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing
from jinja2.visitor import NodeTransformer

from pytest_clnrm.scenario.templates import functions as template_functions
from pytest_clnrm.scenario.templates.functions import MAX_TEXT
from pytest_clnrm.toml.checking import nearest

MAX_WORK = 500_000
MAX_FILE_WORK = 10 * MAX_WORK
_MAX_BITS = 4096
_LISTED = 10
_NAME_CHARS = 100
_CHARACTERS_A_UNIT = 16

# Only what makes no large text or list out of a small one.
_FILTERS = (
    "abs capitalize count d default dictsort e escape filesizeformat first float groupby int items last "
    "length list lower map max min reject rejectattr reverse safe select selectattr sort string "
    "striptags sum title trim unique upper urlencode wordcount "
)
_STR_METHODS = (
    "capitalize casefold count endswith find index isalnum isalpha isdecimal isdigit islower isnumeric "
    "isspace isupper lower lstrip partition removeprefix removesuffix rfind rindex rpartition rsplit "
    "rstrip split splitlines startswith strip swapcase title upper "
)
_DEFAULTS = ("default", "d")


class Budget:
    """What rendering may still cost, in units of about one step of a loop.

    :ivar left: for the template that is being rendered.
    :ivar total: for all templates of the file.
    """

    def __init__(self) -> None:
        self.left = MAX_WORK
        self.total = MAX_FILE_WORK

    def restart(self) -> None:
        """Begin another template."""
        self.left = min(MAX_WORK, self.total)

    def spend(self, units: int) -> None:
        """Take *units* away.

        :raises SecurityError: if there is not so much left.
        """
        self.left -= units
        self.total -= units
        if self.left < 0:
            raise SecurityError("the template does too much work (endless or huge loops)")

    def repeated(self, value: str | list[Any] | tuple[Any, ...], times: int) -> None:
        """Pay for *times* times *value*, before it is made.

        :raises SecurityError: if that is too large.
        """
        size = len(value) * max(times, 0)
        if isinstance(value, str) and size > MAX_TEXT:
            raise SecurityError(f"the text gets longer than {MAX_TEXT} characters")
        self.spend(size // _CHARACTERS_A_UNIT if isinstance(value, str) else size)

    def sized(self, value: Any) -> Any:
        """Return *value*, paid for by its size.

        :raises SecurityError: if it is a text or a number that is too large.
        """
        if isinstance(value, str):
            if len(value) > MAX_TEXT:
                raise SecurityError(f"the text gets longer than {MAX_TEXT} characters")
            self.spend(1 + len(value) // _CHARACTERS_A_UNIT)
        elif isinstance(value, int) and value.bit_length() > _MAX_BITS:
            raise SecurityError(f"the number has more than {_MAX_BITS} bits")
        elif isinstance(value, (list, tuple)):
            self.spend(1 + len(value))
        return value


BRACES = "braces that are no template stand in {% raw %}...{% endraw %}"
"""What whoever writes another program's braces in a scenario file is told."""


class _Missing(StrictUndefined):
    """What is not defined, with a message that says what is."""

    names: Mapping[str, Any] = {}
    functions: tuple[str, ...] = ()

    @property
    def _undefined_message(self) -> str:
        name, owner = str(self._undefined_name)[:_NAME_CHARS], self._undefined_obj
        if self._undefined_hint:
            return self._undefined_hint
        variables = self.names.get("vars")
        known: Iterable[str] = ()
        if owner is missing:
            known = (*self.names, *self.functions)
            message = f"{name!r} is not defined: [vars] has {_listed(variables)}"
        elif hasattr(owner, "why_missing"):
            return str(owner.why_missing(name))
        else:
            message = f"there is no {name!r} in this value"
            if isinstance(owner, Mapping):
                known = map(str, owner)
                table = next((key for key, value in self.names.items() if value is owner), "")
                where = _TABLES.get(table, table and f"vars.{table}")
                message = f"there is no {name!r} in {where or 'this table'}, which has {_listed(owner)}"
        near = nearest(name, known)
        if near:
            return f"{message}; did you mean {near!r}?"
        return f"{message}; {BRACES}" if owner is missing else message


_TABLES = {"vars": "[vars]", "matrix": "[matrix]", "param": "this row of [[parametrize]]"}


def _listed(table: Any) -> str:
    """Return the names of a table in words, the first ten."""
    names = list(map(str, table)) if isinstance(table, Mapping) else []
    shown = ", ".join(each[:_NAME_CHARS] for each in names[:_LISTED])
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{shown}{more}" or "nothing"


class _Itself(str):
    """A text that stands for itself, and is as true as the value of which it is made."""

    __slots__ = ("is_true",)
    is_true: bool

    def __bool__(self) -> bool:
        return self.is_true


class _Bounding(NodeTransformer):
    """Puts each loop, each joined text and each filter under the budget."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 the visitor's own naming
        self.generic_visit(node)
        pairs = isinstance(node.target, nodes.Tuple)
        node.iter = _filter(node.iter, "_pairs" if pairs else "_steps")
        return node

    def visit_Concat(self, node: nodes.Concat | nodes.Filter) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, "_sized")

    visit_Filter = visit_Concat  # noqa: N815


class _Quoting(NodeTransformer):
    """Puts each ``{{ ... }}`` under the filter ``_quoted`` that names one of *names*, or what was made of it.

    :param names: those of values that stand for themselves.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)

    def visit_Template(self, node: nodes.Template) -> nodes.Template:  # noqa: N802
        # What a macro is given and what it gives would have to be told apart.
        if next(node.find_all((nodes.Macro, nodes.CallBlock)), None) is not None:
            raise SecurityError("a macro cannot stand in a pattern that names a captured value")
        known = 0
        while known < len(self._names):
            known = len(self._names)
            for target, source in _assigned(node):
                if self._uses(source):
                    self._names |= _names_within(target)
        self.generic_visit(node)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Output:  # noqa: N802
        node.nodes = list(map(self._quoted, node.nodes))
        return node

    def _quoted(self, node: nodes.Expr, *, is_text: bool = False) -> nodes.Expr:
        """Return *node* with each part of what is joined, or chosen, quoted that names a value.

        Each part is by itself what its author wrote or what came in.

        :param is_text: a sum is one of texts.
        """
        if not self._uses(node):
            return node
        is_text = is_text or _joins_text(node)
        if isinstance(node, nodes.Concat):
            node.nodes = list(map(self._quoted, node.nodes))
        elif isinstance(node, nodes.CondExpr):
            node.expr1 = self._quoted(node.expr1)
            node.expr2 = node.expr2 and self._quoted(node.expr2)
        elif isinstance(node, (nodes.Or, nodes.And)):
            node.left, node.right = self._quoted(node.left), self._quoted(node.right)
        elif isinstance(node, nodes.Add) and is_text:
            node.left = self._quoted(node.left, is_text=True)
            node.right = self._quoted(node.right, is_text=True)
        elif isinstance(node, nodes.Filter) and _is_default(node):
            node.node = node.node and self._quoted(node.node)
            node.args[:1] = map(self._quoted, node.args[:1])
            for each in node.kwargs:
                each.value = self._quoted(each.value)
        else:
            return _filter(node, "_quoted")
        return node

    def _uses(self, node: nodes.Node) -> bool:
        return not self._names.isdisjoint(_names_within(node))


def _assigned(tree: nodes.Template) -> Iterator[tuple[nodes.Node, nodes.Node]]:
    """Yield what is given a value in a template, and from what."""
    for loop in tree.find_all(nodes.For):
        yield loop.target, loop.iter
        yield nodes.Name("loop", "store"), loop.iter
    for each in tree.find_all(nodes.Assign):
        yield each.target, each.node
    for block in tree.find_all(nodes.With):
        yield from zip(block.targets, block.values, strict=True)


def _names_within(node: nodes.Node) -> set[str]:
    """Return the names of which a value is made; what a choice hangs on is no part of it."""
    if isinstance(node, (nodes.Name, nodes.NSRef)):
        return {node.name}
    test = node.test if isinstance(node, nodes.CondExpr) else None
    return {name for each in node.iter_child_nodes() if each is not test for name in _names_within(each)}


def _is_default(node: nodes.Filter) -> bool:
    """Tell whether a filter gives what it is applied to or what it names."""
    return node.name in _DEFAULTS and node.dyn_args is None and node.dyn_kwargs is None


def _joins_text(node: nodes.Expr) -> bool:
    """Tell whether a sum is one of texts, as what is added in it shows."""
    if isinstance(node, nodes.Add):
        return _joins_text(node.left) or _joins_text(node.right)
    return isinstance(node, nodes.Concat) or (isinstance(node, nodes.Const) and isinstance(node.value, str))


def _filter(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)


class ScenarioEnvironment(ImmutableSandboxedEnvironment):
    """The environment in which scenario files are rendered.

    Lists and tables cannot be changed: ``list.extend(list)`` in a loop would cost nothing and fill
    the memory, and what one template does to a variable would be seen by the next.

    :param globals_: what templates may call, by name.
    :param names: the variables that there are, by name, for messages.
    :param comments: False to read ``{#`` as text, as in the shell's ``${#name}``.
    :param quoted: names of values that stand for themselves where they are put in.
    :param quote: returns what stands for a text alone.
    """

    intercepted_binops = frozenset({"+", "*", "**", "%", "//"})

    def __init__(
        self,
        globals_: Mapping[str, Any],
        names: Mapping[str, Any],
        *,
        comments: bool,
        quoted: frozenset[str] = frozenset(),
        quote: Callable[[str], str] = str,
    ) -> None:
        self.budget = Budget()
        self._quoted = quoted
        super().__init__(
            undefined=type("Missing", (_Missing,), {"names": dict(names), "functions": tuple(globals_)}),
            keep_trailing_newline=True,
            cache_size=0,
            finalize=_shown,
            comment_start_string="{#" if comments else "{\0#",
        )
        self.filters = {name: self.filters[name] for name in _FILTERS.split()} | template_functions.filters()
        self.filters |= dict.fromkeys(_DEFAULTS, _default) | {"_sized": self.budget.sized}
        self.filters |= {"_steps": self._steps, "_pairs": self._pairs}
        self.filters["_quoted"] = functools.partial(_itself, quote)
        self.tests = self.tests | template_functions.tests()
        self.globals = dict(globals_)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        if self._quoted:
            _Quoting(self._quoted).visit(tree)
        _Bounding().visit(tree)
        return tree

    def _steps(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.budget.spend(1)
            yield item

    def _pairs(self, items: Any) -> Iterator[Any]:
        # Tera's `for key, value in table`.
        return self._steps(items.items() if isinstance(items, Mapping) else items)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Tell whether *attr* of *obj* may be read; of texts only what makes no large text."""
        if isinstance(obj, str) and attr not in _STR_METHODS.split():
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Wrap nothing: ``str.format`` is not there, as its widths make large texts out of nothing."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return ``obj.attribute``; of a table its entry, even if it is called ``items``."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call *obj* and pay for the call and what it gives."""
        self.budget.spend(1)
        if isinstance(obj, LoopContext):  # a recursive loop goes on with other items
            args = tuple(map(self._steps, args))
        return self.budget.sized(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Return *left* *operator* *right*, if it is not too large."""
        if operator == "%" and isinstance(left, str):
            raise SecurityError("texts are not formatted with %; use ~ to join")
        if operator == "*":
            for text, times in ((left, right), (right, left)):
                if isinstance(text, (str, list, tuple)) and isinstance(times, int):
                    self.budget.repeated(text, times)
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            self.budget.sized(1 << min(max(left.bit_length() * right, 0), _MAX_BITS))
        return self.budget.sized(super().call_binop(context, operator, left, right))


def _shown(value: Any) -> Any:
    """Return *value* as it is to be written: Tera and TOML write ``true``."""
    return str(value).lower() if isinstance(value, bool) else value


def _itself(quote: Callable[[str], str], value: Any) -> Any:
    """Return what stands for *value* alone; what is undefined stays so, for ``default`` or a message."""
    if isinstance(value, Undefined):
        return value
    made = _Itself(quote(str(_shown(value))))
    made.is_true = bool(value)
    return made


def _default(piped: Any, /, default_value: Any = "", boolean: object = None, **tera: Any) -> Any:
    """Return what Jinja's ``default(...)`` and Tera's ``default(value=...)`` do."""
    if isinstance(piped, Undefined) or (boolean and not piped):
        return tera.get("value", default_value)
    return piped
