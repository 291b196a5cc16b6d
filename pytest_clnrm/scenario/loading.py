"""Loading a scenario file: from its path to its scenarios, or to all its mistakes.

bytes -> text -> (rendered whole, if it holds statements) -> TOML -> for each combination of its matrix:
strings rendered -> canonical form -> checked -> scenarios. What costs time to import is imported with the
first file.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_clnrm.errors import MAX_MISTAKES, Mistake, ScenarioFileError
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.scenario import Scenario, Unchecked
from pytest_clnrm.scenario.expanded import Expanded
from pytest_clnrm.scenario.matrix import texts
from pytest_clnrm.scenario.modest import is_modest
from pytest_clnrm.scenario.options import LoadOptions
from pytest_clnrm.scenario.reading import (
    Source,
    excess,
    huge_numbers,
    may_show_secret,
    outline,
    parse,
    read,
    refused,
)
from pytest_clnrm.scenario.sources import Sources
from pytest_clnrm.scenario.templates.arguments import ARGS
from pytest_clnrm.scenario.templates.places import running_names
from pytest_clnrm.scenario.templates.render import Made
from pytest_clnrm.scenario.templates.variables import (
    Rendering,
    captured_names,
    check_captures,
    check_variables,
    is_secret,
    override,
    variable_tables,
)
from pytest_clnrm.toml.positions import Place, Places, place_of, show_path, source_line, value_at
from pytest_clnrm.util.confined import confined, note
from pytest_clnrm.util.redaction import Redactor

if TYPE_CHECKING:
    from pytest_clnrm.scenario.dialects.normalise import Normalised
    from pytest_clnrm.scenario.expanded import Written
    from pytest_clnrm.scenario.format.document import FileDoc
    from pytest_clnrm.scenario.matrix import Combination
    from pytest_clnrm.scenario.templates.render import Renderer

_FIRST_LINE = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*")
_NEVER_RENDERED = ("vars", "template", "matrix", "parametrize")
_RENDERED = "in the text as its templates gave it"


def load(path: str, options: LoadOptions) -> tuple[Scenario, ...]:
    """Return the scenarios of a file, each combination of its matrix by itself, in the order of the file.

    :param path: absolute.
    :raises ScenarioFileError: with all mistakes of the file, in the order of their places.
    """
    from pytest_clnrm.scenario.mounts import allowed_file

    try:
        real = allowed_file(path, rootdir=options.rootdir, allowed=options.allow_mounts)
    except ValueError as error:
        raise refused(path, str(error)) from None
    source = read(real)
    if is_modest(source.text):
        with suppress(_NotModestError):
            return load_source(path, source, options)
    from pytest_clnrm.scenario.templates.confined import LimitError, run_confined

    # os.environ cannot be pickled, a dict can.
    options = dataclasses.replace(options, environ=dict(options.environ))
    try:
        return run_confined(load_source, path, source, options)
    except LimitError as error:
        raise ScenarioFileError(path, (error.mistake,)) from None


class _NotModestError(Exception):
    """A file of blocks is one that is read within limits, and so is who uses it."""


def load_source(path: str, source: Source, options: LoadOptions) -> tuple[Scenario, ...]:
    """Return the scenarios of a file that was read.

    :raises ScenarioFileError: with its mistakes, in the order of their places.
    """
    try:
        return _File(path, source, options).load()
    except RecursionError:
        raise refused(path, "tables and lists are nested too deeply") from None


@dataclass(frozen=True)
class _Text:
    """A text in which mistakes have places, and its TOML values.

    :ivar raw: with the steps of blocks in place of their uses.
    :ivar rendered: True if it is not the file's own text.
    :ivar written: its values as they are written.
    """

    text: str
    raw: dict[str, Any]
    rendered: bool
    blocks: Expanded = field(default_factory=Expanded)
    written: dict[str, Any] | None = None

    @functools.cached_property
    def places(self) -> Places:
        """Return where everything stands."""
        return Places(self.text, self.raw if self.written is None else self.written)


class _File:
    """One file on its way."""

    def __init__(self, path: str, source: Source, options: LoadOptions) -> None:
        self._path = path
        self._source = source
        self._options = options
        self._folder = str(Path(path).parent)
        self._mistakes: dict[tuple[str, str], Mistake] = {}
        self._secrets: set[str] = set()
        self._source_of = Sources(self._folder, options)
        self._made = Made()
        self._others: dict[str, _Text] = {}
        self._hidden: tuple[_Text, set[int]] | None = None
        self._plain = self._parsed()
        self._known = self._plain.raw if self._plain else self._outline()
        self._deferred = captured_names(self._known)
        variables = {name for _, table in variable_tables(self._known) for name in table}
        self._deferred |= running_names(source.text, self._deferred | variables)

    def load(self) -> tuple[Scenario, ...]:
        """Return the scenarios.

        :raises ScenarioFileError: with all mistakes.
        """
        self._check_overrides()
        made = self._combinations()
        scenarios: list[Scenario] = []
        for to_come, combination in zip(range(len(made) - 1, -1, -1), made, strict=True):
            before = len(scenarios)
            rendering = Rendering(functools.partial(self._renderer, combination), self._tell)
            text = self._plain or self._rendered(rendering)
            if text is not None:
                scenarios += self._combination(text, rendering, combination)
            self._secrets |= rendering.secrets
            items = len(scenarios) + to_come * (len(scenarios) - before)
            if len(self._mistakes) >= MAX_MISTAKES or self._too_many(items):
                break
        if self._mistakes:
            ordered = sorted(self._mistakes.values(), key=lambda each: (each.line, each.column))
            raise ScenarioFileError(self._path, tuple(ordered), frozenset(self._secrets))
        return tuple(scenarios)

    def _check_overrides(self) -> None:
        """Note the values that were given for variables which the file does not have."""
        known = [name for _, table in variable_tables(self._known) for name in table]
        for name in self._options.variables.keys() - set(known):
            has = f"it has {', '.join(known)}" if known else "it has none"
            self._note(
                Place(0, 0),
                ("vars", name),
                f"a value is given for it, but the file has no such variable; {has}",
            )

    def _too_many(self, items: int) -> bool:
        """Tell whether the matrix makes too many items, which is a mistake.

        :param items: of all combinations, if those to come have as many as the last one.
        """
        from pytest_clnrm.scenario.matrix import MAX_ITEMS

        if items <= MAX_ITEMS:
            return False
        if len(self._mistakes) == 0:
            message = f"makes {items} items of the file's scenarios; at most {MAX_ITEMS} are allowed"
            self._add(self._plain, [(("matrix" if "matrix" in self._known else "parametrize",), message)])
        return True

    def _tell(self, path: KeyPath) -> None:
        """Tell the process that waits for this confined one which string is being rendered."""
        if confined() and self._plain is not None:
            at = self._plain.blocks.written(path)
            path = at.used if at.file else at.path
            note(json.dumps([self._plain.places.find(path).line, show_path(path)]).encode())

    def _parsed(self) -> _Text | None:
        """Return the file's own text if that is TOML; None if it has to be rendered whole.

        It is with statements in strings, each rendered by itself, or in comments, which are no templates.
        """
        text = self._source.text
        try:
            raw = override(parse(text, self._path), self._options.variables)
        except ScenarioFileError:
            # With a template outside of strings the text is TOML only after rendering.
            if "{%" not in text and "{{" not in text:
                raise
            return None
        plain = _Text(text, raw, rendered=False)
        wrong = self._add(plain, excess(raw) or huge_numbers(text, raw))
        return plain if wrong else self._with_blocks(plain)

    def _with_blocks(self, text: _Text) -> _Text:
        """Return *text* with the steps of blocks in place of their uses."""
        from pytest_clnrm.scenario.blocks import expand, has_blocks
        from pytest_clnrm.scenario.dialects.normalise import is_wild

        if not has_blocks(text.raw) or is_wild(text.raw):
            return text
        done = expand(text.raw, self._path, self._other)
        text = dataclasses.replace(text, raw=done.raw, blocks=done, written=text.raw)
        for at, message, hint in done.wrong[:MAX_MISTAKES]:
            self._tell_of(text, at, message, hint)
        if not done.wrong:
            self._add(text, excess(done.raw))
        return text

    def _outline(self) -> dict[str, Any]:
        """Return what can be known of a file before it is rendered; its mistakes are told afterwards."""
        from pytest_clnrm.scenario.blocks import expand, has_blocks

        known = override(outline(self._source.text), self._options.variables)
        return expand(known, self._path, self._other).raw if has_blocks(known) else known

    def _other(self, path: str) -> dict[str, Any]:
        """Return the values of a file of blocks.

        :param path: absolute.
        :raises ValueError: if it may not be read, or is no TOML.
        """
        from pytest_clnrm.scenario.blocks import values_of

        if path not in self._others:
            source = self._source_of(path, text=True).replace("\r\n", "\n")
            if not (is_modest(source) or confined()):
                raise _NotModestError
            self._others[path] = _Text(source, values_of(source, path, self._shown(path)), rendered=False)
        return self._others[path].raw

    def _shown(self, other: str) -> str:
        """Return the path of another file as it is told: from the folder of this one."""
        return os.path.relpath(other, self._folder)

    def _combinations(self) -> list[Combination]:
        """Return what makes items of each scenario; nothing if that itself is wrong."""
        from pytest_clnrm.scenario.matrix import Combination

        given: dict[str, Any] = {
            key: self._known[key] for key in ("matrix", "parametrize") if key in self._known
        }
        if self._mistakes or not given:
            return [] if self._mistakes else [Combination()]
        from pytest_clnrm.scenario.dialects.normalise import is_wild
        from pytest_clnrm.scenario.format.document import AxesDoc, MatrixRulesDoc
        from pytest_clnrm.scenario.matrix import check, combinations, split
        from pytest_clnrm.scenario.slips import with_remedies
        from pytest_clnrm.toml.checking import find_mistakes

        if is_wild(self._known):
            # In the older dialects it is a claim as any other that nobody knows.
            given.pop("parametrize", None)
        table = given.get("matrix", {})
        axes, rules = split(table) if isinstance(table, dict) else (table, {})
        findings = find_mistakes({**given, "matrix": axes}, AxesDoc)
        findings += find_mistakes({"matrix": rules}, MatrixRulesDoc)
        if self._add(self._plain, with_remedies(given, findings)):
            return []
        rows = given.get("parametrize", [])
        variables = frozenset(name for _, each in variable_tables(self._known) for name in each)
        problems = list(check(table, rows, variables | self._deferred))
        return [] if self._add(self._plain, problems) else combinations(table, rows)

    def _renderer(self, combination: Combination, variables: Mapping[str, Any]) -> Renderer:
        from pytest_clnrm.scenario.templates.environ import moment
        from pytest_clnrm.scenario.templates.render import Renderer

        options = self._options
        determinism = self._known.get("determinism")
        told: Mapping[str, Any] = determinism if isinstance(determinism, dict) else {}
        place = os.path.relpath(self._path, options.rootdir)
        param = texts(combination.param)
        return Renderer(
            variables,
            combination.texts(),
            options.env_allowed,
            options.environ,
            seed=f"{told.get('seed', '')}\n{place}\n{combination.texts()}{param or ''}",
            deferred=self._deferred,
            now_s=moment(told.get("freeze_clock"), options.environ, self._source.modified_s),
            made=self._made,
            param=param,
        )

    def _rendered(self, rendering: Rendering) -> _Text | None:
        """Return the file rendered whole; None after a mistake."""
        from pytest_clnrm.scenario.templates.render import TemplateError

        text = self._source.text
        begin = min(at for mark in ("{%", "{{") if (at := text.find(mark)) >= 0)
        first = place_of(text, begin).line
        note(json.dumps([first, ""]).encode())
        rendering.read_variables(self._known, self._options.secrets)
        if self._add(None, rendering.mistakes):
            return None
        try:
            made = rendering.renderer().render_text(text, keep=frozenset({ARGS}))
        except TemplateError as error:
            if "{%" not in text:
                # It may not be meant as a template at all: then the error of the TOML parser says more.
                parse(text, self._path)
            line = error.line or first
            source = "" if may_show_secret(text, line) else source_line(text, line)
            self._note(Place(line, 0), (), str(error), source=source)
            return None
        try:
            done = _Text(made, parse(made, self._path, _RENDERED), rendered=True)
        except ScenarioFileError as error:
            raise ScenarioFileError(self._path, error.mistakes, frozenset(rendering.secrets)) from None
        if self._add(done, excess(done.raw)):
            return None
        done = self._with_blocks(done)
        return None if done.blocks.wrong else done

    def _combination(self, text: _Text, rendering: Rendering, combination: Combination) -> list[Scenario]:
        """Return the scenarios of one combination, [] after a mistake."""
        from pytest_clnrm.scenario.dialects.normalise import normalise
        from pytest_clnrm.scenario.format.build import Builder
        from pytest_clnrm.scenario.format.shared_rules import check_shared
        from pytest_clnrm.scenario.typed_templates import give_types

        raw = text.raw
        if not text.rendered:
            rendering.read_variables(raw, self._options.secrets)
            if "{{" in text.text or "{%" in text.text:
                renderer = rendering.renderer()
                kept: dict[str, Any] = {key: raw[key] for key in _NEVER_RENDERED if key in raw}
                named = {key: raw[key] for key in raw if key not in kept}
                raw = {**rendering.render(renderer, named, ()), **kept}
        else:
            # What a block's steps name is filled in where they are used.
            for path in text.blocks.of_blocks():
                steps = value_at(raw, path[:-1])
                steps[path[-1]] = rendering.render(rendering.renderer(), steps[path[-1]], path)
        normal = normalise(raw)
        wrong = self._add(text, rendering.mistakes)
        wrong += self._add(text, normal.mistakes)
        for at, table in variable_tables(raw):
            found = check_variables(table, self._deferred)
            wrong += self._add(text, [((*at, *path[1:]), *rest) for path, *rest in found])
        if self._options.strict:
            unchecked = ((path, "is not checked (clnrm_strict)") for path in normal.unchecked)
            wrong += self._add(text, unchecked)
        if text.blocks.typed or (not text.rendered and "{{" in text.text):
            names = {"vars": rendering.values, "matrix": combination.matrix, "param": combination.param}
            give_types(normal, text.raw, {**names, **rendering.values}, text.blocks.typed)
        text, normal, unknown = self._with_presets(text, normal)
        wrong += unknown
        doc = self._checked(text, normal, {path for path, _ in rendering.mistakes})
        if doc is None or wrong:
            return []
        builder = Builder(
            doc=doc,
            file=self._path,
            name=self._stem,
            default_image=self._options.default_image,
            deferred=self._deferred,
            origin=lambda path: text.blocks.at(normal.origin(path)),
            source=self._source_of,
        )
        built = list(builder.build())
        if self._options.policy is not None:
            from pytest_clnrm.scenario.format.policy import check_containers

            policy = self._options.policy
            self._add(text, [each for scenario in built for each in check_containers(scenario, policy)])
        if self._add(text, [each for scenario in built for each in check_shared(scenario)]):
            return []
        if self._add(text, self._secrets_in_names(built, combination, rendering.secrets)):
            return []
        return [
            dataclasses.replace(
                scenario,
                name=scenario.name + combination.suffix(),
                stdout_spans=normal.stdout_spans,
                unchecked=tuple(Unchecked(path=show_path(path), at=path) for path in normal.unchecked),
                variables=dict(rendering.values),
                secrets=frozenset({*rendering.secrets, *self._secrets_of(scenario)}),
                matrix=combination.texts(),
                line=line,
            )
            for scenario, line in zip(built, self._lines(text, built), strict=True)
        ]

    def _with_presets(self, text: _Text, normal: Normalised) -> tuple[_Text, Normalised, int]:
        """Return both with the presets that services name filled in, and how many mistakes that has."""
        from pytest_clnrm.scenario.presets.expand import with_presets

        users = self._options.presets
        done = with_presets(normal, users)
        if done.origins:
            self._others[users.path] = _Text(users.text, parse(users.text, users.path), rendered=False)
            blocks = dataclasses.replace(text.blocks, origins={**text.blocks.origins, **done.origins})
            text = dataclasses.replace(text, blocks=blocks)
        return text, done.normal, self._add(text, done.wrong)

    def _secrets_of(self, scenario: Scenario) -> Iterator[str]:
        """Yield the values of services' variables whose names are those of secrets."""
        for service in scenario.services:
            yield from (value for name, value in service.env.items() if name in self._options.secrets)

    def _secrets_in_names(
        self, scenarios: list[Scenario], combination: Combination, secrets: set[str]
    ) -> Iterator[tuple[KeyPath, str]]:
        """Yield where a secret would be part of an item's name, which cannot be masked."""
        options = self._options
        redactor = Redactor({*secrets, *(options.environ.get(name, "") for name in options.secrets)})
        told = "holds a secret: items are shown and selected by their names; take another"
        for scenario in scenarios:
            if redactor.text(scenario.name) != scenario.name:
                yield (*(scenario.at or ("meta",)), "name"), f"the name {told} name"
        for axis, value in combination.texts().items():
            if redactor.text(value) != value:
                yield ("matrix", axis), f"a value of the matrix {told} value"
        if redactor.text(combination.id) != combination.id:
            yield ("parametrize",), f"a row {told} id"

    def _checked(self, text: _Text, normal: Normalised, templates: set[KeyPath]) -> FileDoc | None:
        """Return the document, None after a mistake.

        :param templates: paths in the file of strings that could not be rendered.
        """
        from pytest_clnrm.scenario.format.document import FileDoc
        from pytest_clnrm.scenario.format.rules import check_file
        from pytest_clnrm.scenario.slips import with_remedies
        from pytest_clnrm.toml.checking import convert, follows_from

        doc, findings = convert(normal.document, FileDoc)
        problems = with_remedies(normal.document, findings)
        if doc is not None:
            rules = check_file(
                doc,
                name=self._stem,
                deferred=self._deferred,
                source=self._source_of,
                marks=self._options.marks,
                origin=lambda path: text.blocks.at(normal.origin(path)),
            )
            paths = [each.subject for each in findings]
            problems += itertools.islice(
                (
                    (each.path, each.message, each.hint)
                    for each in rules
                    if not follows_from(each.path, paths)
                ),
                MAX_MISTAKES,
            )
            if not findings:
                captures = check_captures(normal.document, self._deferred)
                problems += ((*each, "") for each in itertools.islice(captures, MAX_MISTAKES))
            if not problems and self._options.policy is not None:
                from pytest_clnrm.scenario.format.policy import check_policy

                problems += check_policy(
                    doc, self._options.policy, lambda path: value_at(text.raw, normal.origin(path))
                )
        placed = [(normal.origin(path), *rest) for path, *rest in problems]
        self._add(text, [each for each in placed if each[0] not in templates])
        return None if placed else doc

    def _lines(self, text: _Text, scenarios: list[Scenario]) -> list[int]:
        """Return the line at which each scenario starts."""
        first = _FIRST_LINE.match(self._source.text)
        start = 1 + (first[0].count("\n") if first else 0)
        paths = [each.at for each in scenarios]
        if text.rendered or not any(paths):
            return [start] * len(paths)
        return [text.places.find(path).line or start for path in paths]

    @property
    def _stem(self) -> str:
        name = Path(self._path).name
        return name.removesuffix(".toml").removesuffix(".clnrm")

    def _add(self, text: _Text | None, problems: Any) -> int:
        """Note mistakes, each a path in the file, a message and perhaps a hint; return how many.

        :param text: in which they have places, None if there is none.
        """
        count = 0
        for path, message, *hint in itertools.islice(problems, MAX_MISTAKES):
            count += 1
            if text is None:
                self._note(Place(0, 0), path, message, hint="".join(hint))
                continue
            self._tell_of(text, text.blocks.written(path), message, "".join(hint))
        return count

    def _tell_of(self, text: _Text, at: Written, message: str, hint: str) -> None:
        """Note a mistake.

        :param at: where it is; of what stands in a block, the place of the use is told too.
        """
        path = at.path
        if at.file:
            found = self._others[at.file].places.find(path)
            message = f"{self._shown(at.file)}:{found.line}:{found.column}: {show_path(path)}: {message}"
            path = at.used
        place = text.places.find(path)
        used = f"used in line {text.places.find(at.used).line}" if at.used and not at.file else ""
        shown = "; ".join(filter(None, (hint, used, _RENDERED if text.rendered else "")))
        if self._hidden is None or self._hidden[0] is not text:
            self._hidden = text, self._secret_lines(text)
        source = "" if place.line in self._hidden[1] else source_line(text.text, place.line)
        self._note(place, path, message, hint=shown, source=source)

    def _secret_lines(self, text: _Text) -> set[int]:
        """Return the lines of *text* that hold a table of variables of which one is secret."""
        hidden: set[int] = set()
        for path, table in variable_tables(text.raw):
            if any(is_secret(name, each, self._options.secrets) for name, each in table.items()):
                first, last = text.places.extent(path)
                hidden.update(range(first, last + 1) if first else range(text.text.count("\n") + 2))
        return hidden

    def _note(self, place: Place, path: KeyPath, message: str, *, hint: str = "", source: str = "") -> None:
        shown = show_path(path)
        mistake = Mistake(
            line=place.line, column=place.column, path=shown, message=message, source=source, hint=hint
        )
        # The first of several combinations, or uses of a block, tells it.
        self._mistakes.setdefault((shown, message), mistake)
