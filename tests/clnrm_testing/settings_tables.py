"""The tables of settings in docs/configuration.md, made from the declarations.

``python -m clnrm_testing.settings_tables``, started in ``tests``, writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pytest_clnrm.settings import values
from pytest_clnrm.settings.config_file import LISTS
from pytest_clnrm.settings.declare import Setting
from pytest_clnrm.settings.settings import CONFIG_SETTINGS, SETTINGS

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"
_FORMS: dict[Callable[[object], object], str] = {
    values.count: "whole number",
    values.count_or_zero: "whole number",
    values.cpus: "number of CPUs",
    values.retries: "whole number",
    values.positive_duration: "whole number",
    values.container_memory: "whole number",
    values.size: "whole number",
}


def with_tables(text: str) -> str:
    """Return the text of the docs with both tables between their marks as they should be."""
    for name, rows in (("options", _options()), ("config", _config())):
        begin, end = (
            f"<!-- table of {name}: made by clnrm_testing.settings_tables -->",
            "<!-- end of table -->",
        )
        before, found, behind = text.partition(f"{begin}\n")
        assert found, f"{DOCS} lacks the line {begin}"
        text = "".join((before, found, *rows, end, behind.partition(end)[2]))
    return text


def _row(*cells: str) -> str:
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|\n"


def _meaning(setting: Setting) -> str:
    """Return what a setting does, with the form of its value where no option shows it."""
    form = "list" if setting.kind == "args" else setting.metavar
    shown = f" ({form})" if form.isalpha() and not setting.option else ""
    return f"{setting.meaning}{setting.docs}{shown}"


def _options() -> list[str]:
    rows = [_row("option", "ini key", "default", "meaning"), _row(*["---"] * 4)]
    for setting in SETTINGS:
        behind = f" {setting.metavar}" if setting.option and not setting.flag else ""
        option = f"`{setting.option}{behind}`".replace("|", "\\|") if setting.option else ""
        is_value = setting.default_value not in (None, ())
        default = f"`{setting.default}`" if is_value else setting.default
        rows.append(_row(option, f"`{setting.ini}`", default, _meaning(setting)))
    return rows


def _config() -> list[str]:
    rows = [_row("key", "value", "the same as, or meaning"), _row(*["---"] * 3)]
    keys = [(key, setting) for setting in CONFIG_SETTINGS for key in setting.config]
    # The tables below `executor` stand at the end, as in a file.
    for key, setting in sorted(keys, key=lambda each: each[0].rpartition(".")[0]):
        same = f"`{setting.ini}`" if setting.name else setting.meaning
        rows.append(_row(f"`executor.{key}`", _value(key, setting), same))
    named = 'a table: tag or folder = `"high"`, `"normal"` or `"low"`'
    return [*rows, _row("`executor.priorities`", named, "see below")]


def _value(key: str, setting: Setting) -> str:
    if isinstance(setting.default_value, bool):
        return "`true` or `false`"
    if isinstance(setting.parse, values.Choice):
        return " or ".join(f'`"{each}"`' for each in setting.parse.names)
    if setting.kind == "args":
        what, example = LISTS[setting.parse]
        return f'a list of {what} such as `["{example}"]`'
    units = {"_ms": ", milliseconds", "_mb": ", MB"}
    unit = next((text for end, text in units.items() if key.endswith(end)), "")
    return _FORMS[setting.parse] + unit


if __name__ == "__main__":
    DOCS.write_text(with_tables(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
