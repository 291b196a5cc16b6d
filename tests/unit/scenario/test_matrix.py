"""The matrix: one scenario for each combination."""

from __future__ import annotations

from typing import Any

import pytest

STEP = '[[step]]\nrun = "echo {{ matrix.database }}"\n'


def test_one_scenario_for_each_combination(project: Any) -> None:
    """Names, values and rendered strings follow the axes, the last one turning fastest."""
    text = f'[meta]\nname = "orders"\n[matrix]\ndatabase = ["15", 16]\ntls = [true, false]\n{STEP}'
    loaded = project.load(text)
    assert [each.name for each in loaded] == [
        "orders[database=15,tls=true]",
        "orders[database=15,tls=false]",
        "orders[database=16,tls=true]",
        "orders[database=16,tls=false]",
    ]
    assert [each.steps[0].action.run for each in loaded] == ["echo 15", "echo 15", "echo 16", "echo 16"]
    assert loaded[3].matrix == {"database": "16", "tls": "false"}


def test_scenarios_of_a_file_are_multiplied_together(project: Any) -> None:
    """Each of several scenarios gets every combination."""
    text = "[matrix]\na = [1, 2]\n" + "".join(
        f'[[scenario]]\nname = "{name}"\n[[scenario.step]]\nrun = "true"\n' for name in "xy"
    )
    assert [each.name for each in project.load(text)] == ["x[a=1]", "y[a=1]", "x[a=2]", "y[a=2]"]


def test_mistakes_of_the_matrix_come_alone(project: Any) -> None:
    """Without a matrix nothing else can be judged, so only its own mistakes are told, with their places."""
    text = f'[matrix]\nempty = []\nodd = [[1]]\n"a b" = [1]\n{STEP}'
    scalars = "expected text, a whole number, a number or true or false"
    letters = "letters, digits and '_', no digit first"
    assert project.refuse(text) == [
        "FILE:2:1: matrix.empty: is empty: at least one entry is needed\n    empty = []\n    ^",
        f"FILE:3:8: matrix.odd[0]: {scalars}, found a list\n    odd = [[1]]\n           ^",
        f'FILE:4:1: matrix."a b": the name "a b" is not allowed: {letters}\n    "a b" = [1]\n    ^',
    ]


@pytest.mark.parametrize("value", ["{{ vars.a }}", "{% if a %}x{% endif %}"])
def test_values_are_no_templates(project: Any, head: Any, value: str) -> None:
    """One that looks like a template would be used, and shown, as it stands: it is refused."""
    told = "values of a matrix are no templates, and would be taken as they stand: write them out"
    text = f'[vars]\na = 1\n[matrix]\ndatabase = ["1", "{value}"]\n{STEP}'
    assert head(project.refuse(text)) == [f"FILE:4:18: matrix.database[1]: {told}"]


def test_a_value_twice_is_a_mistake(project: Any, head: Any) -> None:
    """Two items cannot have the same name."""
    text = f'[matrix]\ndatabase = ["1", 1]\n{STEP}'
    assert head(project.refuse(text)) == ['FILE:2:18: matrix.database[1]: "1" is there twice']


def test_combinations_are_bounded(project: Any, head: Any) -> None:
    """A matrix that explodes is refused at once."""
    axes = "".join(f"a{index} = {list(range(10))}\n" for index in range(9))
    assert head(project.refuse(f"[matrix]\n{axes}{STEP}")) == [
        "FILE:1:1: matrix: 1000000000 combinations; at most 1000 are allowed"
    ]


def test_items_are_bounded(project: Any, head: Any) -> None:
    """They are those of all scenarios and combinations, counted once each."""
    matrix = f"[matrix]\na = {list(range(200))}\n"
    assert len(project.load(f'{matrix}[[step]]\nrun = "true"\n')) == 200
    scenarios = "".join(
        f'[[scenario]]\nname = "s{index}"\n[[scenario.step]]\nrun = "true"\n' for index in range(51)
    )
    assert head(project.refuse(matrix + scenarios)) == [
        "FILE:1:1: matrix: makes 10200 items of the file's scenarios; at most 10000 are allowed"
    ]


def test_names_cannot_break_the_node_id(project: Any, head: Any) -> None:
    """A value goes into the item's name, so it is judged like one."""
    assert head(project.refuse(f'[matrix]\ndatabase = ["a::b", "c\\n"]\n{STEP}')) == [
        "FILE:2:13: matrix.database[0]: must not hold '::' or control characters such as newlines",
        "FILE:2:21: matrix.database[1]: must not hold '::' or control characters such as newlines",
    ]


def test_mistakes_of_all_combinations_are_told_once(project: Any, head: Any) -> None:
    """What is wrong in every combination is one mistake, what is wrong in one is told too."""
    text = '[matrix]\na = ["1s", "x"]\n[[step]]\nrun = "true"\ntimeout = "{{ matrix.a }}"\nrum = 1\n'
    found = head(project.refuse(text))
    assert len(found) == 2
    assert found[0].startswith('FILE:5:1: step[0].timeout: "x" is not allowed: a number of seconds')
    assert found[1].startswith('FILE:6:1: step[0].rum: unknown key "rum"; allowed here: name, service, run')


def test_include_and_exclude(project: Any) -> None:
    """Exclude takes away, include adds to what it does not contradict, else it is one more combination."""
    text = """
[matrix]
os = ["a", "b"]
n = [1, 2]
exclude = [{ os = "a", n = 2 }]
include = [
  { extra = "all" }, { os = "b", extra = "b" }, { os = "c", n = 3, extra = "new" }, { n = 1, old = true },
]
[[step]]
run = "echo {{ matrix.os }} {{ matrix.n }} {{ matrix.extra }}"
timeout = "{{ matrix.n }}"
"""
    loaded = project.load(text, name="x.clnrm.toml")
    assert [each.name for each in loaded] == [
        "x[os=a,n=1,extra=all,old=true]",
        "x[os=b,n=1,extra=b,old=true]",
        "x[os=b,n=2,extra=b]",
        "x[os=c,n=3,extra=new]",
    ]
    assert [each.steps[0].action.run for each in loaded] == [
        "echo a 1 all",
        "echo b 1 b",
        "echo b 2 b",
        "echo c 3 new",
    ]
    assert [each.steps[0].timeout_s for each in loaded] == [1, 1, 2, 3]


def test_include_alone_is_a_list_of_combinations(project: Any) -> None:
    """Without axes each entry is one, and each later one too."""
    text = f'[matrix]\ninclude = [{{ database = "1" }}, {{ database = "2" }}]\n{STEP}'
    assert [each.matrix for each in project.load(text)] == [{"database": "1"}, {"database": "2"}]


def test_an_axis_may_be_called_include(project: Any) -> None:
    """Its values are no tables: it means what it meant before there was another."""
    text = '[matrix]\ninclude = ["x", "y"]\nexclude = [1]\n[[step]]\nrun = "true"\n'
    assert [each.name for each in project.load(text, name="a.toml")] == [
        "a[include=x,exclude=1]",
        "a[include=y,exclude=1]",
    ]


NO_TEMPLATES = "are no templates, and would be taken as they stand: write them out"
NO_NAME = "must not hold '::' or control characters such as newlines"
SAME = "every row has the same names: this one"
AXIS = '[matrix]\na = ["1", "2"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exclude = [{ b = 1 }]", 'matrix.exclude[0].b: there is no axis "b"; there are: a'),
        ("exclude = [{ a = 3 }]", 'matrix.exclude[0].a: the axis "a" has no value "3", but: 1, 2'),
        ("exclude = [{ a = 1 }, { a = 2 }]", "matrix.exclude: leaves no combination"),
        ("exclude = [{}]", "matrix.exclude[0]: is empty: a value of an axis is needed"),
        ("include = [{ a = 9 }, { a = 9 }]", "matrix.include: makes [a=9] twice"),
        ("include = [{ a = 9 }, 3]", "matrix.include[1]: expected a table, found 3"),
        (
            "include = [{ b = [1] }]",
            "matrix.include[0].b: expected text, a whole number, a number or true or false, found a list",
        ),
        (
            "include = [{ b = '{{ x }}' }]",
            f"matrix.include[0].b: values of a matrix {NO_TEMPLATES}",
        ),
        (
            "include = [{ 'b c' = 1 }]",
            'matrix.include[0]."b c": the name "b c" is not allowed: letters, digits and',
        ),
        (
            "other = [{ b = 1 }]",
            "matrix.other[0]: expected text, a whole number, a number or true or false, found a table",
        ),
        (f"include = {[{'b': n} for n in range(1001)]}".replace("':", "' ="), "matrix: 1003 combinations"),
        (f"exclude = {[{'a': 1}] * 1001}".replace("':", "' ="), "matrix.exclude: more than 1000 entries"),
    ],
)
def test_mistakes_of_include_and_exclude(project: Any, head: Any, text: str, message: str) -> None:
    """Each is told with its place and what there is."""
    (told,) = head(project.refuse(f'{AXIS}{text}\n[[step]]\nrun = "true"\n'))
    assert told.partition(": ")[2].startswith(message)


ROWS = """
[meta]
name = "words"
[[parametrize]]
id = "none at all"
text = ""
words = 0
[[parametrize]]
text = "two"
words = 1
[matrix]
lang = ["C", "de"]
[[step]]
run = ["count", "{{ param.text }}", "{{ matrix.lang }}"]
expect = { exit = "{{ param.words }}" }
"""


def test_each_row_makes_an_item(project: Any) -> None:
    """It is named by its id, or its values, and stands beside the matrix."""
    loaded = project.load(ROWS)
    assert [each.name for each in loaded] == [
        "words[lang=C,none at all]",
        "words[lang=C,text=two,words=1]",
        "words[lang=de,none at all]",
        "words[lang=de,text=two,words=1]",
    ]
    assert [each.steps[0].action.run for each in loaded[:2]] == [("count", "", "C"), ("count", "two", "C")]
    assert [each.steps[0].expect.exit_in for each in loaded[:2]] == [(0,), (1,)]


def test_rows_of_a_file_that_is_rendered_whole(project: Any) -> None:
    """They are found before the file is TOML."""
    step = '{% if true %}\n[[step]]\nrun = "echo {{ param.n }}"\n{% endif %}\n'
    text = f"[[parametrize]]\nn = 1\n[[parametrize]]\nn = 2\n{step}"
    assert [each.steps[0].action.run for each in project.load(text)] == ["echo 1", "echo 2"]


TWO = "[[parametrize]]\na = 1\n[[parametrize]]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parametrize = []\n", "FILE:1:1: parametrize: is empty: at least one entry is needed"),
        ("[parametrize]\na = 1\n", "FILE:1:1: parametrize: expected a list, found a table"),
        ("[[parametrize]]\nid = 'x'\n", "FILE:1:1: parametrize[0]: holds no value"),
        (f"{TWO}a = 1\n", 'FILE:3:1: parametrize[1]: "a=1" is there twice'),
        (
            f"{TWO}b = 1\n",
            f'FILE:3:1: parametrize[1]: {SAME} lacks, and the first one has, "a"',
        ),
        (
            f"{TWO}a = 'x::y'\n",
            f"FILE:4:1: parametrize[1].a: {NO_NAME} in a name: give the row an id",
        ),
        (f"{TWO}a = 2\nid = ' '\n", "FILE:5:1: parametrize[1].id: must not be empty"),
        (
            f"{TWO}a = '{{{{ b }}}}'\n",
            f"FILE:4:1: parametrize[1].a: values of [[parametrize]] {NO_TEMPLATES}",
        ),
        (
            f"[vars]\nparam = 1\n{TWO}a = 2\n",
            "FILE:3:1: parametrize: its values are named {{ param.NAME }}: nothing else can be called param",
        ),
    ],
)
def test_mistakes_of_rows(project: Any, head: Any, text: str, message: str) -> None:
    """Each is told with its place."""
    assert head(project.refuse(f'{text}[[step]]\nrun = "true"\n'))[0] == message


def test_a_name_that_no_row_has(project: Any, head: Any) -> None:
    """What a template may name is told; without rows there is no param at all."""
    step = '[[step]]\nrun = "{{ param.b }}"\n'
    assert head(project.refuse(f"[[parametrize]]\na = 1\n{step}")) == [
        "FILE:4:1: step[0].run: there is no 'b' in this row of [[parametrize]], which has a"
    ]
    (mistake,) = head(project.refuse(step))
    assert mistake.startswith("FILE:2:1: step[0].run: 'param' is not defined: [vars] has nothing; braces ")


def test_a_secret_as_id(project: Any, head: Any) -> None:
    """It would be shown in node ids."""
    text = f"{TWO}a = 2\nid = 's3same'\n[[step]]\nrun = 'true'\n"
    (told,) = head(project.refuse(text, environ={"KEY": "s3same"}, secrets=("KEY",)))
    assert told.startswith("FILE:1:1: parametrize: a row holds a secret: items are shown and selected")
    assert "s3same" not in told


def test_rows_and_combinations_are_bounded(project: Any, head: Any) -> None:
    """Their product is counted before it is made."""
    rows = "".join(f"[[parametrize]]\na = {n}\n" for n in range(101))
    text = f'{rows}[matrix]\na = {list(range(100))}\n[[step]]\nrun = "true"\n'
    assert head(project.refuse(text)) == [
        "FILE:1:1: parametrize: 10100 rows and combinations; at most 10000 are allowed"
    ]


def test_in_an_older_dialect_it_is_not_checked(project: Any) -> None:
    """It means what it meant: nothing that anybody knows."""
    text = '[[steps]]\nname = "s"\ncommand = ["true"]\n[[parametrize]]\na = 1\n'
    loaded = project.one(text)
    assert [each.path for each in loaded.unchecked] == ["parametrize"]
    assert loaded.name == "orders"
