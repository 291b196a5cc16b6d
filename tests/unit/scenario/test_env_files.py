"""Files of environment variables."""

from __future__ import annotations

import pytest

from pytest_clnrm.scenario.env_files import read_env


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("\n  # nothing\n\t\n", {}),
        ("A=1\nB = two words \r\n", {"A": "1", "B": "two words"}),
        ("A=\nB=''\nC=\"\"", {"A": "", "B": "", "C": ""}),
        ("export A.b-c=x", {"A.b-c": "x"}),
        ("A=x#y #z\nB=#c", {"A": "x#y", "B": ""}),
        ("A='it is # $HOME \\n' # c", {"A": "it is # $HOME \\n"}),
        ('A="a\\tb\\n\\"q\\" \\$x \\z"', {"A": 'a\tb\n"q" $x \\z'}),
        ("KEY='-----BEGIN\nabc\n-----END'\nB=1", {"KEY": "-----BEGIN\nabc\n-----END", "B": "1"}),
        ("A=$HOME/${X}", {"A": "$HOME/${X}"}),
        ("URL=http://h/?a=b&c=d", {"URL": "http://h/?a=b&c=d"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=it's", {"A": "it's"}),
    ],
)
def test_what_is_read(text: str, expected: dict[str, str]) -> None:
    """Lines, quotes, comments and escapes, as they are written in such files."""
    assert read_env(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\n\nHOME\n", "line 3: HOME has no value: this host's environment is not read; write HOME=..."),
        ("A='x", "line 1: the quotes around the value are not closed, or something follows them"),
        ('B="x" y', "line 1: the quotes around the value are not closed, or something follows them"),
        (
            "A=1\n1B=2",
            "line 2: no variable: expected NAME=value, with a name of letters, digits, '_', '.' and '-'",
        ),
        ("=x", "line 1: no variable: expected NAME=value, with a name of letters, digits, '_', '.' and '-'"),
    ],
)
def test_what_is_no_variable(text: str, message: str) -> None:
    """The line is named, and what is expected."""
    with pytest.raises(ValueError, match="line") as caught:
        read_env(text)
    assert str(caught.value) == message
