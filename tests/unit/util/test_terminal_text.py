"""What files and workloads wrote is shown without what a terminal or a CI service obeys."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clnrm.util.terminal_text import LiveText, commands, is_plain, one_line, shown

SERVICES = ("GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION")


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what says that a CI service reads what is shown."""
    for name in SERVICES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain: ä €\t|\n", "plain: ä €\t|\n"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31m \x7f \x00 \x08", "\\x9b31m \\x7f \\x00 \\x08"),
        ("pass\u202eword \u2066x\u2069 \u200f", "pass\\u202eword \\u2066x\\u2069 \\u200f"),
        ("a\u2028b\x85c\x0bd\x0ce", "a\\u2028b\\x85c\\x0bd\\x0ce"),
        ("of DOS\r\nof a bar\rand on", "of DOS\nof a bar\\rand on"),
        ("\ufeffmark \udcff \U000e0041", "\\ufeffmark \\udcff \\U000e0041"),
        ("pa\u200bss \u2060x\ufeff", "pa\\u200bss \\u2060x\\ufeff"),
        (
            "\U0001f469\u200d\U0001f4bb \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\U0001f469\u200d\U0001f4bb \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
        ("so\u00adft\u180e \u2064", "so\\xadft\\u180e \\u2064"),
    ],
)
def test_control_characters_are_escaped(text: str, expected: str) -> None:
    """C0 but for tab and newline, DEL, C1, bidirectional marks, what ends lines elsewhere, what is unseen."""
    assert shown(text) == expected
    assert shown(expected) == expected
    assert is_plain(text) == (one_line(text) == text)


def test_one_line_has_no_newline() -> None:
    """Where there is one line only, newlines and tabs are escaped too."""
    assert one_line("a\nb\tc\r\n") == "a\\nb\\tc\\r\\n"


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("::set-output name=a::b", "\\x3a:set-output name=a::b"),
        ("fine\n \t::add-mask::x\n", "fine\n \t\\x3a:add-mask::x\n"),
        ("\u00a0::stop-commands::x", "\u00a0\\x3a:stop-commands::x"),
        ("\r::warning::x", "\\r::warning::x"),
        ("a ##[add-mask]b ##VSO[task.setvariable]", "a \\x23#[add-mask]b \\x23#VSO[task.setvariable]"),
        ("##teamcity[publishArtifacts 'x']", "\\x23#teamcity[publishArtifacts 'x']"),
        ("a::b ## heading #[x]", "a::b ## heading #[x]"),
    ],
)
def test_no_line_is_a_command(
    monkeypatch: pytest.MonkeyPatch, service: str, text: str, expected: str
) -> None:
    """In the log of a CI service no line is one that it obeys; elsewhere nothing is changed."""
    assert "\\x3a" not in shown(text)
    monkeypatch.setenv(service, "true")
    assert shown(text) == expected
    assert one_line(text) == expected.replace("\n", "\\n").replace("\t", "\\t") or "\n" in text


def test_names_that_hold_a_command() -> None:
    """GitHub's older commands count anywhere in a line, so that a name must not hold one."""
    assert commands("a ##[add-mask]b")
    assert not commands("a # [b] ## c")


@pytest.mark.parametrize("service", ["", "true"])
@given(text=st.text("ab:# \r\n\x1b[", max_size=40), data=st.data())
def test_pieces_are_shown_as_the_whole(service: str, text: str, data: st.DataObject) -> None:
    """However text is cut into pieces, it is shown as if it came at once."""
    written: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_ACTIONS", service)
        live = LiveText(written.append)
        at = 0
        while at < len(text):
            size = data.draw(st.integers(1, 5))
            live.feed(text[at : at + size])
            at += size
        live.close()
        # In a log the last line is ended.
        whole = f"{text}\n" if service and text and not text.endswith("\n") else text
        assert "".join(written) == shown(whole)


def test_pieces_are_shown_at_once_where_nobody_obeys() -> None:
    """On a terminal a prompt without a newline is seen; in a log a line is shown when it is whole."""
    written: list[str] = []
    LiveText(written.append, {}).feed("name? ")
    assert written == ["name? "]
    live = LiveText(written.append, {"GITHUB_ACTIONS": "true"})
    live.feed("name? ")
    assert written == ["name? "]
    live.feed("x" * (1 << 17))
    live.feed("y")
    assert written[1].endswith("x\n")


def test_nothing_that_controls_is_left() -> None:
    """No character of the kinds that move, hide or reorder text passes."""
    every = "".join(map(chr, range(0x3000)))
    left = {char for char in shown(every) if unicodedata.category(char) == "Cc"}
    assert left == {"\t", "\n"}
    assert not re.search("[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]", shown(f"{every}\ufeff"))
