"""Steps that are written once and used at several places: ``use = "login"`` of ``[steps.login]``.

A use is replaced by the steps of its block before anything else is made of the file: templates, rules and the
model see plain steps. :mod:`pytest_clnrm.scenario.expanded` keeps where each of them is written and used.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pytest_clnrm.errors import ScenarioFileError
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.expanded import Expanded, Written, Wrong
from pytest_clnrm.scenario.format.block_document import USE_KEYS, BlocksDoc, UseDoc
from pytest_clnrm.scenario.reading import excess, huge_numbers, parse
from pytest_clnrm.scenario.templates.arguments import ARGS, filled, names_args, whole
from pytest_clnrm.scenario.templates.render import TemplateError
from pytest_clnrm.scenario.templates.variables import resets_in
from pytest_clnrm.toml.checking import find_mistakes, some, suggestion
from pytest_clnrm.toml.positions import leaves, show_path

LISTS = ("setup", "step", "cleanup")
MAX_STEPS = 10_000
_DEPTH = 20
_FILE = ".toml"
_SERVED = ("run", "wait", "use")
"""Steps that run in a service take that of the use if they name none."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A block that was found.

    :param label: as its use names it, for messages.
    """

    label: str
    file: str
    name: str
    table: Mapping[str, Any]

    @property
    def at(self) -> KeyPath:
        return ("steps", self.name)


def has_blocks(raw: Mapping[str, Any]) -> bool:
    """Tell whether a file, in no older dialect, has blocks or uses some."""
    tables = [raw, *_tables(raw.get("scenario"))]
    steps = [step for table in tables for _, step in _steps(table)]
    steps += [step for _, each in resets_in(raw) for step in _tables(each)]
    return "steps" in raw or any("use" in step for step in steps)


def expand(raw: dict[str, Any], path: str, read: Callable[[str], dict[str, Any]]) -> Expanded:
    """Return a file with the steps of blocks in place of their uses.

    :param path: of the file, absolute.
    :param read: returns the values of the file at an absolute path, or raises ValueError if it may not be
        read, or is no TOML.
    """
    return _Expansion(raw, path, read).expanded()


class _Expansion:
    def __init__(self, raw: dict[str, Any], path: str, read: Callable[[str], dict[str, Any]]) -> None:
        self._raw = raw
        self._path = path
        self._read = read
        self._done = Expanded({key: each for key, each in raw.items() if key != "steps"})
        self._files: dict[str, Mapping[str, Any] | None] = {}
        self._used: set[str] = set()
        self._count = 0

    def expanded(self) -> Expanded:
        blocks = self._blocks("", Written("", ("steps",)))
        if blocks is None:
            return self._done
        self._lists(self._done.raw, ())
        scenarios = self._raw.get("scenario")
        if isinstance(scenarios, list):
            made = [dict(each) if isinstance(each, dict) else each for each in scenarios]
            self._done.raw["scenario"] = made
            for index, each in enumerate(made):
                if isinstance(each, dict):
                    self._lists(each, ("scenario", index))
        self._resets()
        for name in blocks if not self._done.wrong else ():
            if name in self._used:
                continue
            self._wrong(
                Written("", ("steps", name)),
                f'no step of this file uses the block "{name}"',
                f'remove it, or move it to a file of blocks: use = "FILE.toml#{name}"',
            )
        if not self._done.wrong:
            self._outside()
        return self._done

    def _resets(self) -> None:
        """Expand the lists of steps by which services are reset."""
        for path, _ in list(resets_in(self._raw)):
            _, name, reset, _ = path
            services = self._done.raw["service"] = dict(self._done.raw["service"])
            service = services[name] = dict(services[name])
            service[reset] = dict(service[reset])
            self._lists(service[reset], path[:-1], ("steps",))

    def _outside(self) -> None:
        """Note where arguments are named outside of a block."""
        variables = self._raw.get("vars")
        if isinstance(variables, dict) and ARGS in variables:
            return
        for path, text in leaves(self._done.raw):
            if isinstance(text, str) and names_args(text):
                self._wrong(self._done.written(path), "only the steps of a block have arguments")

    def _wrong(self, at: Written, message: str, hint: str = "") -> None:
        self._done.wrong.append(Wrong(at, message, hint))

    def _wrong_at(self, place: Written, path: KeyPath, message: str) -> None:
        self._wrong(place._replace(path=(*place.path, *path)), message)

    def _lists(self, table: dict[str, Any], path: KeyPath, keys: Sequence[str] = LISTS) -> None:
        """Expand the lists of steps of a file, scenario or reset, in place."""
        times: dict[str, int] = {}
        for key in keys:
            steps = table.get(key)
            if not isinstance(steps, list):
                continue
            made: list[Any] = []
            for index, step in enumerate(steps):
                own = Written("", (*path, key, index))
                for at, each, typed in self._step(step, own, "", (), times):
                    to = (*path, key, len(made))
                    made.append(each)
                    self._done.typed |= {(*to, *below): value for below, value in typed.items()}
                    if at.used or at.path != to:
                        self._done.origins[to] = at
            table[key] = made

    def _step(
        self, step: Any, at: Written, file: str, chain: tuple[_Block, ...], times: dict[str, int]
    ) -> Iterator[tuple[Written, Any, dict[KeyPath, Any]]]:
        """Yield a step, or the steps of the block that it uses, each with its place.

        :param file: in which a block without a file is looked for.
        :param chain: the blocks within which it stands.
        :param times: how often each block was used before, in the same list.
        """
        if not isinstance(step, dict) or "use" not in step:
            yield at, step, {}
            return
        if self._is_too_much(at):
            return
        block = self._block(step, at, file, chain)
        if block is None or not self._fits(step, block, at):
            return
        given = {**block.table.get("defaults", {}), **step.get("with", {})}
        lead = step.get("name") or self._lead(block, times)
        used: set[str] = set()
        steps = block.table["step"]
        own = (each["name"] for each in steps if isinstance(each.get("name"), str))
        names = {name: f"{lead}: {name}" for name in own}
        for index, each in enumerate(steps):
            if self._is_too_much(at):
                return
            place = Written(block.file, (*block.at, "step", index), at.used or at.path)
            filling = _Filling(given, used, {}, partial(self._wrong_at, place))
            made = filling.filled(each, ())
            made["name"] = f"{lead}: {made.get('name') or f'step {index + 1}'}"
            if "service" in step and "service" not in made and _is_served(made):
                made["service"] = step["service"]
            _rename(made, names)
            for found, done, types in self._step(made, place, block.file, (*chain, block), {}):
                yield found, done, filling.typed if done is made else types
        for index, name in enumerate(block.table.get("args", ())):
            if name not in used:
                self._unused(block, ("args", index), name, at)
        for name in block.table.get("defaults", {}):
            if name not in used:
                self._unused(block, ("defaults", name), name, at)

    def _is_too_much(self, at: Written) -> bool:
        """Count a step, and tell whether blocks that use blocks make more of them than anybody needs."""
        self._count += 1
        if self._count == MAX_STEPS + 1:
            self._wrong(at, f"blocks make more than {MAX_STEPS} steps of this file")
        return self._count > MAX_STEPS

    def _unused(self, block: _Block, path: KeyPath, name: str, at: Written) -> None:
        place = Written(block.file, (*block.at, *path), at.used or at.path)
        self._wrong(place, f'no step of the block names "{name}"', f"write {{{{ args.{name} }}}}")

    def _lead(self, block: _Block, times: dict[str, int]) -> str:
        """Return with what the names of a block's steps begin; of several uses each has its own."""
        times[block.name] = times.get(block.name, 0) + 1
        return block.name if times[block.name] == 1 else f"{block.name} ({times[block.name]})"

    def _block(
        self, step: dict[str, Any], at: Written, file: str, chain: tuple[_Block, ...]
    ) -> _Block | None:
        """Return the block that a step uses; None after a mistake."""
        wrong = find_mistakes({key: step[key] for key in USE_KEYS if key in step}, UseDoc)
        for each in wrong:
            self._wrong(at._replace(path=(*at.path, *each.path)), each.message, each.hint)
        if wrong:
            return None
        use = step["use"]
        below = at._replace(path=(*at.path, "use"))
        named, hash_, name = use.rpartition("#")
        if hash_:
            if not named.endswith(_FILE):
                self._wrong(below, f'a file of blocks ends with {_FILE}, found "{named}"')
                return None
            file = os.path.normpath(os.path.join(os.path.dirname(file or self._path), named))  # noqa: PTH118, PTH120
            file = "" if file == self._path else file
        blocks = self._blocks(file, below)
        if blocks is None:
            return None
        where = f" in {named}" if hash_ else ""
        if name not in blocks:
            known = some(list(blocks)) or "none is defined"
            message = f'there is no block "{name}"{where}; known: {known}'
            self._wrong(below, message, suggestion(name, list(blocks)))
            return None
        if not file:
            self._used.add(name)
        block = _Block(use, file, name, blocks[name])
        names = [each.name for each in chain if (each.file, each.name) == (file, name)]
        if names or len(chain) > _DEPTH:
            ways = " uses ".join([*(each.label for each in chain), use])
            self._wrong(below, f"a block cannot use itself: {ways}")
            return None
        return block

    def _fits(self, step: dict[str, Any], block: _Block, at: Written) -> bool:
        """Tell whether a use gives what its block needs, and nothing else."""
        before = len(self._done.wrong)
        for key in step:
            if key not in USE_KEYS:
                self._wrong(
                    at._replace(path=(*at.path, key)),
                    f"`{key}` does not go with use, which takes {', '.join(USE_KEYS[1:])}",
                    "write it in the steps of the block",
                )
        given = step.get("with", {})
        required = block.table.get("args", [])
        known = [*required, *block.table.get("defaults", {})]
        for name in given:
            if name not in known:
                message = f'the block "{block.name}" has no argument "{name}"'
                told = f"{message}; it has: {some(known) or 'none'}"
                self._wrong(at._replace(path=(*at.path, "with", name)), told, suggestion(name, known))
        if missing := [name for name in required if name not in given]:
            shown = ", ".join(f"{name} = ..." for name in missing)
            names = ", ".join(missing)
            message = f'the block "{block.name}" needs the argument{"s" if len(missing) > 1 else ""} {names}'
            self._wrong(at, message, f"write with = {{ {shown} }}")
        return len(self._done.wrong) == before

    def _blocks(self, file: str, at: Written) -> Mapping[str, Any] | None:
        """Return the blocks of a file; None after a mistake.

        :param at: where it is named.
        """
        if file not in self._files:
            self._files[file] = self._read_blocks(file, at)
        return self._files[file]

    def _read_blocks(self, file: str, at: Written) -> Mapping[str, Any] | None:
        try:
            table = (self._read(file) if file else self._raw).get("steps", {})
        except ValueError as error:
            self._wrong(at, str(error))
            return None
        used = (at.used or at.path) if file else ()
        findings = find_mistakes({"steps": table}, BlocksDoc)
        for each in findings:
            self._wrong(Written(file, each.path, used), each.message, each.hint)
        for name, block in ({} if findings else table).items():
            for both in block.get("defaults", {}).keys() & block.get("args", ()):
                place = Written(file, ("steps", name, "defaults", both), used)
                self._wrong(place, "is in `args` too, which says that each use gives it")
        return None if findings else table


@dataclass(frozen=True, slots=True)
class _Filling:
    """Fills arguments into a step.

    :ivar used: gets the names of those that it names.
    :ivar typed: path of a text that is one argument -> what was given for it, if that is no text.
    """

    args: Mapping[str, Any]
    used: set[str]
    typed: dict[KeyPath, Any]
    wrong: Callable[[KeyPath, str], None]

    def filled(self, value: Any, path: KeyPath) -> Any:
        """Return *value* with arguments filled in, at any depth."""
        if isinstance(value, dict):
            return {key: self.filled(each, (*path, key)) for key, each in value.items()}
        if isinstance(value, list):
            return [self.filled(each, (*path, index)) for index, each in enumerate(value)]
        if not isinstance(value, str) or ARGS not in value:
            return value
        name = whole(value)
        given = self.args.get(name)
        if given is not None and not isinstance(given, str):
            if path[:1] == ("with",):
                self.used.add(name)
                return given
            self.typed[path] = given
        try:
            return filled(value, self.args, self.used)
        except TemplateError as error:
            self.wrong(path, str(error))
            return value


def values_of(text: str, path: str, shown: str) -> dict[str, Any]:
    """Return the values of a file of blocks.

    :param shown: how its path is told.
    :raises ValueError: if it is no TOML, or larger than any that a person writes.
    """
    try:
        raw = parse(text, path)
    except ScenarioFileError as error:
        first = error.mistakes[0]
        raise ValueError(f"{shown}:{first.line}:{first.column}: {first.message}") from None
    for at, message in excess(raw) or huge_numbers(text, raw):
        raise ValueError(f"{shown}: {show_path(at)}: {message}")
    return raw


def _is_served(step: Mapping[str, Any]) -> bool:
    """Tell whether a step runs in a service."""
    return any(key in step for key in _SERVED) and "image" not in step


def _rename(step: dict[str, Any], names: Mapping[str, str]) -> None:
    """Let checks of a block's step name the steps of the block by their own names."""
    checks = step.get("check")
    if isinstance(checks, list):
        step["check"] = [
            {**each, "since": names.get(each["since"], each["since"])}
            if isinstance(each, dict) and isinstance(each.get("since"), str)
            else each
            for each in checks
        ]


def _tables(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _steps(table: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key in LISTS:
        yield from ((key, step) for step in _tables(table.get(key)))
