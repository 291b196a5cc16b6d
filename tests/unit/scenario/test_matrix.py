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
