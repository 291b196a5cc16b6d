"""Variables in files of Docker Compose: ``${NAME:-default}`` as templates of scenario files."""

from __future__ import annotations

import re
import shlex

from pytest_clnrm.compose.reading import Value

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)"
    r"|\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:?[-?+])(?P<rest>[^{}$]*))?\}|(?P<wrong>))",
    re.ASCII,
)
_BRACES = ("{{", "{%", "{#")
_FIRST_PLACE = 0xE000


class LeftOutError(ValueError):
    """Something has no counterpart, or is not understood; says why.

    :param value: what it is.
    """

    def __init__(self, value: Value, why: str) -> None:
        super().__init__(why)
        self.value = value


class Texts:
    """Makes texts, and knows which variables of the environment they name.

    :ivar names: of all variables.
    :ivar required: those without which the file cannot be read -> what is to be said then.
    """

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.required: dict[str, str] = {}

    def text(self, value: Value) -> str:
        """Return a scalar as a text of a scenario file.

        :raises LeftOutError: if it is none, or names a variable in a way that has no counterpart.
        """
        pieces, templates = self._taken_apart(value)
        return _joined(pieces, templates)

    def plain(self, value: Value) -> str:
        """Return a scalar whose value has to be known now.

        :raises LeftOutError: if it is none, or names a variable.
        """
        if not isinstance(value.data, str):
            raise LeftOutError(value, "is not a single value")
        if any(not each["escaped"] for each in _VARIABLE.finditer(value.data)):
            raise LeftOutError(value, f"{value.data!r} depends on a variable, and has to be known here")
        text = value.data.replace("$$", "$")
        if _literal(text) != text:
            raise LeftOutError(value, f"{text!r} would be taken for a template")
        return text

    def words(self, value: Value) -> list[str]:
        """Return a command line as argv, as a shell divides it; what a variable holds is not divided."""
        pieces, templates = self._taken_apart(value)
        marked = "".join(
            each if index == 0 else f"{chr(_FIRST_PLACE + index - 1)}{each}"
            for index, each in enumerate(pieces)
        )
        try:
            words = shlex.split(marked)
        except ValueError as error:
            raise LeftOutError(value, f"cannot be divided into words: {error}") from None
        places = f"[{chr(_FIRST_PLACE)}-{chr(_FIRST_PLACE + len(templates))}]"
        return [
            _joined(
                re.split(places, each), [templates[ord(at) - _FIRST_PLACE] for at in re.findall(places, each)]
            )
            for each in words
        ]

    def _taken_apart(self, value: Value) -> tuple[list[str], list[str]]:
        """Return the texts around the variables, and the template for each of these."""
        if not isinstance(value.data, str):
            raise LeftOutError(value, "is not a single value")
        pieces, templates = [""], list[str]()
        at = 0
        for found in _VARIABLE.finditer(value.data):
            pieces[-1] += value.data[at : found.start()]
            at = found.end()
            if found["escaped"]:
                pieces[-1] += "$"
                continue
            templates.append(self._template(value, found))
            pieces.append("")
        pieces[-1] += value.data[at:]
        return pieces, templates

    def _template(self, value: Value, found: re.Match[str]) -> str:
        name, how, rest = found["name"] or found["plain"], found["how"] or "", found["rest"] or ""
        if name is None or how.endswith("+"):
            raise LeftOutError(value, f"{value.data!r} uses a variable in a way that has no counterpart")
        self.names[name] = None
        if how.endswith("?"):
            self.required[name] = rest
            return f"{{{{ env.{name} }}}}"
        quoted = "'" + rest.replace("\\", "\\\\").replace("'", "\\'") + "'"
        also_empty = ", true" if how == ":-" else ""
        return f"{{{{ env.{name} | default({quoted}{also_empty}) }}}}"


def _joined(pieces: list[str], templates: list[str]) -> str:
    first, *others = map(_literal, pieces)
    return first + "".join(template + each for template, each in zip(templates, others, strict=True))


def _literal(text: str) -> str:
    """Return a text in which no template is seen."""
    return f"{{% raw %}}{text}{{% endraw %}}" if any(each in text for each in _BRACES) else text
