"""The table of settings agrees with the defaults, the help and the documentation."""

from __future__ import annotations

import re
from unittest.mock import Mock

import pytest
from clnrm_testing.settings_tables import DOCS, with_tables

from pytest_clnrm.settings.config_file import CONFIG_KEYS
from pytest_clnrm.settings.declare import Setting, add_options
from pytest_clnrm.settings.settings import SETTINGS, Settings


@pytest.fixture(scope="module")
def documented() -> set[str]:
    """Return every word of the documentation that stands in backquotes."""
    return set(re.findall(r"`([^`\n]+)`", DOCS.read_text(encoding="utf-8")))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
class TestSetting:
    """Each row of the table."""

    def test_fills_a_field(self, setting: Setting) -> None:
        """Its field is one of Settings."""
        assert getattr(Settings, setting.field) is setting

    def test_says_the_default_that_holds(self, setting: Setting) -> None:
        """The default in the help text means what Settings has."""
        holds = getattr(Settings(), setting.field)
        assert setting.default_value == holds
        if holds in (None, ()):
            assert setting.default
        elif setting.kind == "args":
            assert tuple(setting.parse(each) for each in setting.default.split()) == holds
        else:
            assert setting.parse(setting.default) == holds

    def test_is_documented(self, setting: Setting, documented: set[str]) -> None:
        """The documentation names its ini key, and its option with what stands behind it."""
        assert setting.ini in documented
        if setting.option:
            shown = setting.option if setting.flag else f"{setting.option} {setting.metavar}"
            assert shown.replace("|", "\\|") in documented


def test_fields_are_filled_once() -> None:
    """No two rows of the table fill the same field."""
    fields = [setting.field for setting in SETTINGS]
    assert sorted(set(fields)) == sorted(fields)


def test_documentation_is_made_of_the_settings() -> None:
    """Both tables of the documentation say what the settings say."""
    text = DOCS.read_text(encoding="utf-8")
    assert text == with_tables(text), "write the tables: cd tests && python -m clnrm_testing.settings_tables"


@pytest.mark.parametrize("key", CONFIG_KEYS, ids=".".join)
def test_config_keys_are_documented(key: tuple[str, ...], documented: set[str]) -> None:
    """The documentation names every key of the config file."""
    assert ".".join(key) in documented


def test_documentation_names_nothing_else(documented: set[str]) -> None:
    """Whatever the documentation calls an option or ini key of ours is one."""
    named = {word.split()[0].split("=")[0] for word in documented if re.match(r"(--clnrm-|clnrm_)\w", word)}
    declared = {setting.ini for setting in SETTINGS} | {setting.option for setting in SETTINGS}
    assert named - declared == set()


def test_nothing_is_hidden_by_a_default() -> None:
    """Options and ini keys are declared without a default, and with a help text that argparse can format."""
    parser = Mock()
    add_options(parser, SETTINGS)
    options = parser.getgroup.return_value.addoption.call_args_list
    inis = parser.addini.call_args_list
    assert [call.args[0] for call in options] == [each.option for each in SETTINGS if each.option]
    assert [call.args[0] for call in inis] == [each.ini for each in SETTINGS]
    assert {call.kwargs["default"] for call in [*options, *inis]} == {None}
    assert [call.kwargs["help"] % {} for call in options if "80" in call.kwargs["help"]] == [
        setting_help("memory_budget")
    ]


def setting_help(name: str) -> str:
    """Return the help text of a setting as users see it."""
    setting = next(each for each in SETTINGS if each.name == name)
    return f"{setting.help} (default: {setting.default})"
