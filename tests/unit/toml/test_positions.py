"""Where keys and values stand in a TOML text."""

from __future__ import annotations

import textwrap

import hypothesis
import hypothesis.strategies as st
import pytest
import tomli
import tomli_w

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.toml.positions import (
    Place,
    Places,
    _paths,
    place_of,
    scan,
    show_path,
    source_line,
)

TEXT = textwrap.dedent('''\
    # a comment with [brackets] and "quotes
    title = "a # no comment"   # a comment
    "quoted key" = 1
    "tab\\tkey" = 2
    'literal' = 3
    a . b."c.d" = 4

    [table]   # header
    text = """
    [not.a.header]
    key = "no key" \\
    five quotes: """""
    raw = \'\'\'it's
    ''quoted'' \'\'\'
    dates = [ 1979-05-27 07:32:00, 07:32:00 , ]
    nested = [ [1, 2], # comment ]
      [], ["]", '}'] ]
    inline = { x = 1, y.z = [ { q = "," } ],
      # comment
      w = {} , }
    empty = ""
    emptyraw = \'\'

    [[list]]
    n = 1
      [list.sub]
      deep = true
      [[list.inner]]
      k = 1
      [[list.inner]]
      k = 2
    [[list]]
    n = 2
      [[list.inner]]
      k = 3
    [ table . "x y" ]
    z = inf
''')


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        (("title",), 2, 1),
        (("quoted key",), 3, 1),
        (("tab\tkey",), 4, 1),
        (("a", "b", "c.d"), 6, 7),
        (("table",), 8, 1),
        (("table", "text"), 9, 1),
        (("table", "dates", 1), 15, 32),
        (("table", "nested", 0, 1), 16, 16),
        (("table", "nested", 2, 1), 17, 13),
        (("table", "inline", "y", "z", 0, "q"), 18, 29),
        (("table", "inline", "w"), 20, 3),
        (("list",), 24, 1),
        (("list", 0, "sub", "deep"), 27, 3),
        (("list", 0, "inner", 1, "k"), 31, 3),
        (("list", 1), 32, 1),
        (("list", 1, "inner", 0, "k"), 35, 3),
        (("table", "x y", "z"), 37, 1),
    ],
)
def test_each_kind_of_key_has_its_place(path: tuple[str | int, ...], line: int, column: int) -> None:
    """Headers, dotted and quoted keys, arrays, inline tables: all are found after any kind of value."""
    assert Places(TEXT, tomli.loads(TEXT)).find(path) == Place(line, column)


def test_the_scan_has_tomlis_structure() -> None:
    """The scan finds the very paths that tomli finds."""
    assert scan(TEXT).keys() == set(_paths(tomli.loads(TEXT), ()))


def test_what_has_no_place_has_its_parents() -> None:
    """A missing key is shown at its table, the whole file at its first key."""
    document = tomli.loads(TEXT)
    places = Places(TEXT, document)
    missing, everything = places.find(("list", 1, "gone", 3)), places.find(())
    assert missing == Place(32, 1)
    assert everything == Place(2, 1)


def test_no_place_is_shown_if_the_structure_differs() -> None:
    """A scan that disagrees with tomli is not trusted."""
    assert Places("a = 1\n", {"b": 1}).find(("a",)) == Place(0, 0)
    for text in ("= 1", "a = [ } ]", "a = [ 1, "):
        assert Places(text, {"a": [1]}).find(("a",)) == Place(0, 0)


STEPS = textwrap.dedent("""\
    # above
    [[step]]
    run = "a"
    expect = { exit = [
      0 ] }

    [step.env]
    A = '''
    [[step]]
    '''

    # of the next
    [[step]]
    run = "b"

    [matrix]
    """)


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        (("step", 0), (2, 10)),
        (("step", 0, "expect"), (4, 5)),
        (("step", 1), (13, 14)),
        (("matrix",), (16, 16)),
        (("nowhere",), (0, 0)),
    ],
)
def test_what_stands_at_a_path_has_a_first_and_a_last_line(path: KeyPath, lines: tuple[int, int]) -> None:
    """Tables below it and text of several lines belong to it; what is above the next one does not."""
    assert Places(STEPS, tomli.loads(STEPS)).extent(path) == lines
    assert Places("a = [{ b = 1 }, { b = 2 }]", {"a": [{"b": 1}, {"b": 2}]}).extent(("a", 0)) == (1, 1)
    assert Places("a = 1\n", {"b": 1}).extent(("a",)) == (0, 0)


VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab .\"'é\n#[]{}=", max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@hypothesis.given(st.dictionaries(st.text("abc .\"'", max_size=4), VALUES, max_size=4), st.booleans())
@hypothesis.settings(derandomize=True, max_examples=200, deadline=None, database=None)
def test_any_document_is_scanned_as_tomli_reads_it(document: dict[str, object], multiline: bool) -> None:  # noqa: FBT001
    """Whatever a writer of TOML puts out, scan and tomli agree on its paths."""
    text = tomli_w.dumps(document, multiline_strings=multiline).replace("\r\n", "\n")
    assert scan(text).keys() == set(_paths(tomli.loads(text), ()))


def test_paths_are_shown_as_users_write_them() -> None:
    """Indices stand in brackets, odd keys in quotes."""
    assert show_path(("service", "db", "ports", 0)) == "service.db.ports[0]"
    assert show_path(("env", "a b", 'q"')) == 'env."a b"."q\\""'
    assert show_path(()) == ""


def test_lines_and_offsets() -> None:
    """Offsets become lines and columns, and lines are found by their number."""
    assert place_of("ab\ncd", 4) == Place(2, 2)
    assert source_line("ab\ncd", 2) == "cd"
    assert source_line("ab\ncd", 3) == ""
