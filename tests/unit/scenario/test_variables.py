"""Variables, templates and captured names in whole files."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest

from pytest_clnrm.errors import MAX_MISTAKES, ScenarioFileError
from pytest_clnrm.scenario.reading import outline
from pytest_clnrm.util.redaction import Redactor

CAPTURE = 'capture = { row = { json = "" } }\n'
FIRST = '[[scenario]]\nname = "a"\n[[scenario.step]]\nrun = "x"\n'
STEP = '[[step]]\nrun = "true"\n'


def test_variables_fill_strings(project: Any) -> None:
    """Any string below is rendered, a variable may name those before it, and the model keeps their values."""
    scenario = project.one("""
[vars]
region = "eu"
host = "{{ region }}.example"
nested = { port = 5432, list = ["a", "{{ host }}"] }
[meta]
name = "in {{ region }}"
[service.db]
image = "{{ nested.list[1] }}:{{ vars.nested.port }}"
[[step]]
run = ["echo", "{{ host }}"]
""")
    assert scenario.name == "in eu"
    assert scenario.services[0].image == "eu.example:5432"
    assert scenario.steps[0].action.run == ("echo", "eu.example")
    assert scenario.variables["nested"] == {"port": 5432, "list": ["a", "eu.example"]}
    assert scenario.secrets == frozenset()


def test_secrets_are_told(project: Any) -> None:
    """Values that the file or the settings call secret are known as such, all texts in them."""
    text = f"""
[vars]
token = {{ value = "abc", secret = true }}
plain = {{ value = "x", secret = false }}
table = {{ value = 1 }}
named = ["p", 7, ""]
derived = {{ value = "{{{{ token }}}}-d", secret = true }}
{STEP}"""
    scenario = project.one(text, secrets=("named",))
    assert scenario.secrets == {"abc", "p", "7", "abc-d"}
    assert list(scenario.variables.values())[:3] == ["abc", "x", {"value": 1}]


def test_the_environment_is_read_where_allowed(project: Any, head: Any) -> None:
    """Only names that are allowed reach a file."""
    text = '[[step]]\nrun = "echo {{ env.HOME }}"\n'
    environ = {"HOME": "/home/x"}
    assert project.one(text, environ=environ, env_allowed=("HOME",)).steps[0].action.run == "echo /home/x"
    assert head(project.refuse(text, environ=environ)) == [
        "FILE:2:1: step[0].run: environment variable HOME is not listed in clnrm_env"
    ]


def test_all_templates_are_judged_at_once(project: Any, head: Any) -> None:
    """Each string that cannot be rendered is a mistake at its place, beside other mistakes."""
    found = head(
        project.refuse("""\
[vars]
a = "{{ later }}"
later = 1
[[step]]
run = ["{{ gone }}", "{{ 1 + }}"]
timeout = "{{ gone }}"
rum = 1
""")
    )
    assert [each.partition(": ")[0] for each in found] == [
        "FILE:2:1",
        "FILE:5:8",
        "FILE:5:22",
        "FILE:6:1",
        "FILE:7:1",
    ]
    assert "gone" in found[1]
    assert "the template is not valid" in found[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[vars]\nmatrix = 1\n", "FILE:2:1: vars.matrix: a variable cannot be called vars or matrix"),
        (
            '[vars]\na = { value = 1, secret = "yes" }\n',
            "FILE:2:18: vars.a.secret: expected true or false",
        ),
        ("vars = 3\n", "FILE:1:1: vars: expected a table, found 3"),
    ],
)
def test_mistakes_of_variables(project: Any, head: Any, text: str, message: str) -> None:
    """What is wrong in [vars] is told at its place."""
    assert head(project.refuse(text + STEP)) == [message]


WHOLE = """\
{% set who = "you" %}
[meta]
name = "{{ name }}"
[vars]
name = "whole"
count = 3
[matrix]
axis = ["x", "y"]
{% for index in range(count) %}
[[step]]
name = "{{ loop.index }}"
run = "echo {{ who }} {{ matrix.axis }}"
timeout = {{ index + 1 }}
{% endfor %}
"""


def test_files_with_statements_are_rendered_whole(project: Any) -> None:
    """Statements may make tables and values; variables and matrix of the same file are known in them."""
    first, second = project.load(WHOLE)
    assert [first.name, second.name] == ["whole[axis=x]", "whole[axis=y]"]
    assert [each.timeout_s for each in first.steps] == [1, 2, 3]
    assert second.steps[2].action.run == "echo you y"
    assert first.variables == {"name": "whole", "count": 3}
    assert first.line == 1


def test_places_in_a_rendered_file_say_so(project: Any) -> None:
    """A mistake in the rendered text is shown there, and told to be there."""
    (mistake,) = project.refuse("{% for a in [1, 2] %}\n[[step]]\nrun = ''\n{% endfor %}\n")[:1]
    assert mistake == (
        "FILE:3:1: step[0].run: is empty (in the text as its templates gave it)\n    run = ''\n    ^"
    )
    (mistake,) = project.refuse('{% if true %}\n[[step]\nrun = "x"\n{% endif %}\n')
    assert mistake.startswith("FILE:2:7: not valid TOML:")
    assert "(in the text as its templates gave it)" in mistake


def test_mistakes_of_statements(project: Any) -> None:
    """A template that fails is told with its line."""
    (mistake,) = project.refuse(f"{STEP}\n{{% for %}}\n")
    assert mistake.startswith("FILE:4: the template is not valid: Expected an expression")
    assert mistake.endswith("\n    {% for %}")
    (mistake,) = project.refuse(f'[vars]\na = "{{{{ b }}}}"\n{{% set x = 1 %}}\n{STEP}')
    assert mistake.startswith("FILE: vars.a: 'b' is not defined")
    (mistake,) = project.refuse(f'[vars]\na = "{{{{ b }}}}"  # {{% set x = 1 %}}\n{STEP}')
    assert mistake.startswith("FILE:2:1: vars.a: 'b' is not defined")


def test_expressions_outside_of_strings(project: Any) -> None:
    """A template in the place of a value is rendered too; what still is no TOML is told of the file."""
    text = f"[vars]\nport = 5432\n[service.db]\nimage = 'x'\nports = [{{{{ port }}}}]\n{STEP}"
    assert project.one(text).services[0].ports == (5432,)
    (mistake,) = project.refuse(f"[vars]\nport = {{{{ 1 }}\n{STEP}")
    assert mistake.startswith("FILE:2:9: not valid TOML: ")


def test_the_outline_of_a_file_that_is_no_toml_yet() -> None:
    """Variables and matrix are found whatever statements do to the rest."""
    assert outline(WHOLE)["vars"] == {"name": "whole", "count": 3}
    broken = "[vars]\na = 1\n{% if x %}\n[t]\nb = 1\n{% else %}\n[t]\nb = 2\n{% endif %}\n[matrix]\nc = [1]\n"
    assert outline(broken) == {"vars": {"a": 1}, "matrix": {"c": [1]}}
    assert outline("[vars]\na = oops\n[matrix]\nc = [1]\n") == {"matrix": {"c": [1]}}


def test_rendering_is_the_same_in_each_process(project: Any) -> None:
    """What looks random depends on the file and the combination alone."""
    text = '[matrix]\na = [1, 2]\n[[step]]\nrun = "{{ uuid_v4() }}"\n'
    first, second = ([each.steps[0].action.run for each in project.load(text)] for _ in range(2))
    assert first == second
    assert len(set(first)) == 2


CAPTURES = """
[vars]
who = "you"
[[step]]
run = "true"
capture = { row = { regex = "x" } }
[[step]]
run = "echo {{ row }} {{ who }}"
[step.expect.stdout]
contains = "{{ row }}"
[[step]]
run = "echo {{ who }}"
[[step]]
run = "true"
workdir = "{{ row }}"
expect = { stdout = { regex = "{{ row }}(" } }
"""


def test_captured_names_wait(project: Any) -> None:
    """Strings that name captured values stay, other variables in them are filled in, and the step says so."""
    steps = project.one(CAPTURES).steps
    assert [each.templated for each in steps] == [False, True, False, True]
    assert steps[1].action.run == "echo {{ row }} you"
    assert steps[1].expect.stdout is not None
    assert steps[1].expect.stdout.contains == ("{{ row }}",)
    assert steps[2].action.run == "echo you"


def test_captured_names_wait_in_whole_files(project: Any) -> None:
    """The same holds where the whole file is rendered."""
    steps = project.one("{% set x = 1 %}\n" + CAPTURES).steps
    assert steps[1].action.run == "echo {{ row }} you"
    assert steps[1].templated


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f'[meta]\nname = "{{{{ row }}}}"\n{STEP}{CAPTURE}',
            'FILE:2:1: meta.name: names "row" where captured values are not known',
        ),
        (
            '[[step]]\nrun = "echo {{ row }}"\ncapture = { row = { json = "" } }\n',
            'FILE:2:1: step[0].run: names "row" before a step captures it',
        ),
        (
            f'{STEP}name = "{{{{ row }}}}"\n{CAPTURE}',
            'FILE:3:1: step[0].name: names "row" where captured values are not known',
        ),
        (
            f'{STEP}expect = {{ stderr = {{ contains = ["{{{{ row }}}}"] }} }}\n{CAPTURE}',
            'FILE:3:35: step[0].expect.stderr.contains[0]: names "row" before a step captures it',
        ),
        (
            f"{FIRST}{CAPTURE}" + '[[scenario]]\nname = "b"\n[[scenario.step]]\nrun = ["{{ row }}"]\n',
            'FILE:9:8: scenario[1].step[0].run[0]: names "row" before a step captures it',
        ),
        (
            FIRST.replace('"a"', '"a"\ndescription = "{{ row }}"') + CAPTURE,
            'FILE:3:1: scenario[0].description: names "row" where captured values are not known',
        ),
        (
            f"[vars]\nrow = 1\n{STEP}{CAPTURE}",
            "FILE:2:1: vars.row: a step captures a value of this name; choose another",
        ),
    ],
)
def test_captured_names_where_they_are_not_known(project: Any, head: Any, text: str, message: str) -> None:
    """A value is known in the steps after the one that captures it, and nowhere else."""
    assert head(project.refuse(text)) == [message]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ('{ value = "hunter2", secert = true }', 'unknown key "secert"; * (did you mean "secret"?)'),
        ('{ vaule = "hunter2", secret = true }', 'unknown key "vaule"; * (did you mean "value"?)'),
        ('{ vaule = "hunter2", secrte = true }', 'unknown key "vaule"; * (did you mean "value"?)'),
        ('{ value = "hunter2", secret = "yes" }', "expected true or false"),
        ('{ value = "hunter2", secret = true, note = "hunter2!" }', 'unknown key "note"; *'),
        ('{ value = "hunter2", unit = "s" }', 'unknown key "unit"; *'),
        ('{ value = "{{ nobody }} hunter2", secret = true }', "*nobody*"),
        ('{ value = "hunter2", secret = true, }\nvars = 1', "a variable cannot be called*"),
        ('{ value = "hunter2, secret = true }', "not valid TOML*"),
        ('{ value = "hunter2", secert = true } x', "not valid TOML*"),
        ('{ value = """\nhunter2\n', "not valid TOML*"),
    ],
)
def test_a_mistake_beside_a_secret_shows_no_value(project: Any, given: str, told: str) -> None:
    """Whatever is misspelt in a secret variable, and on its lines, its value is in no message and no line."""
    uses = '[[step]]\nrun = "echo {{ pw }}"\ntimeout = "{{ pw }}"\n'
    with pytest.raises(ScenarioFileError) as caught:
        project.load(f"[vars]\npw = {given}\n{uses}")
    shown = Redactor(caught.value.secrets).text(caught.value.render("FILE"))
    assert any(fnmatchcase(line, f"FILE:*: {told}") for line in shown.split("\n")), shown
    assert "hunter2" not in shown


HIDDEN = '[vars]\npw = { value = "hunter2", secret = true }\n'
TOLD = "holds a secret: items are shown and selected by their names; take another"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f'{HIDDEN}[meta]\nname = "as {{{{ pw }}}}"\n{STEP}',
            f"FILE:4:1: meta.name: the name {TOLD} name",
        ),
        (
            HIDDEN + FIRST + FIRST.replace('"a"', '"hunter2"'),
            f"FILE:8:1: scenario[1].name: the name {TOLD} name",
        ),
        (
            f'{HIDDEN}[matrix]\nwho = ["me", "xhunter2"]\n{STEP}',
            f"FILE:4:1: matrix.who: a value of the matrix {TOLD} value",
        ),
        (
            f'[meta]\nname = "of s3same"\n{STEP}',
            f"FILE:2:1: meta.name: the name {TOLD} name",
        ),
    ],
    ids=["meta", "scenario", "matrix", "environment"],
)
def test_a_secret_in_the_name_of_an_item(project: Any, head: Any, text: str, message: str) -> None:
    """It would be shown in node ids, which cannot be masked: it is refused."""
    assert head(project.refuse(text, environ={"KEY": "s3same"}, secrets=("KEY",))) == [message]


def test_variables_of_the_older_dialect(project: Any) -> None:
    """``[template.vars]`` is read as ``[vars]`` is, which wins; the rest of the table is not checked."""
    text = """
    [template]
    engine = "tera"
    [template.vars]
    host = "old"
    port = "80"
    [vars]
    host = "new"
    url = "{{ host }}:{{ port }}"
    [test]
    name = "t"
    [[steps]]
    name = "a"
    command = ["echo", "{{ url }}", "{{ vars.port }}"]
    """
    scenario = project.one(text)
    assert scenario.steps[0].action.run == ("echo", "new:80", "80")
    assert [each.path for each in scenario.unchecked] == ["template.engine"]
    alone = text.replace('engine = "tera"', "").replace('"{{ url }}", "{{ vars.port }}"', '"{{ prot }}"')
    (mistake,) = project.refuse(alone)
    assert "'prot' is not defined: [vars] has host, port, url; did you mean 'port'?" in mistake
    (mistake,) = project.refuse(text.replace('port = "80"', 'port = "80"\nmatrix = "1"'))
    assert mistake.startswith("FILE:7:")
    assert "template.vars.matrix" in mistake


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ hosst }}", "'hosst' is not defined: [vars] has host, db; did you mean 'host'?"),
        ("{{ vars.prot }}", "there is no 'prot' in [vars], which has host, db"),
        ("{{ db.prot }}", "there is no 'prot' in vars.db, which has port; did you mean 'port'?"),
        ("{{ matrix.os }}", "there is no 'os' in [matrix], which has version"),
    ],
)
def test_undefined_names_say_which_table_lacks_them(project: Any, template: str, message: str) -> None:
    """The table is named, and what it has."""
    text = f"""
    [vars]
    host = "h"
    db = {{ port = "1" }}
    [matrix]
    version = ["1"]
    [[step]]
    run = "echo {template}"
    """
    (mistake,) = project.refuse(text)
    assert message in mistake


@pytest.mark.parametrize("where", ["vars", "steps"])
def test_very_many_undefined_names(project: Any, where: str) -> None:
    """They are told in the time that a file has, as far as anybody reads them, with the nearest name."""
    names = [f"variable_number_{number}" for number in range(500)]
    wrong = ["{{ " + name.replace("v", "w") + " }}" for name in names]
    values = wrong if where == "vars" else ["x"] * len(names)
    text = "[vars]\n" + "".join(f'{name} = "{value}"\n' for name, value in zip(names, values, strict=True))
    steps = wrong if where == "steps" else ["true"]
    mistakes = project.refuse(text + "".join(f'[[step]]\nrun = "{run}"\n' for run in steps))
    assert len(mistakes) == MAX_MISTAKES
    assert all("is not defined: [vars] has " in each and len(each) < 400 for each in mistakes)
    assert "did you mean 'variable_number_9" in mistakes[99]


def test_captures_of_setup_and_cleanup(project: Any, head: Any) -> None:
    """A value is known from its capture on, in the order in which steps run: setup, step, check, cleanup."""
    capture = 'capture = { %s = { regex = "x" } }'
    text = f"""
    [[setup]]
    run = "echo {{{{ own }}}}"
    {capture % "first"}
    [[cleanup]]
    run = "echo {{{{ first }}}} {{{{ own }}}}"
    [[scenario]]
    name = "s"
    [[scenario.setup]]
    run = "echo {{{{ first }}}}"
    {capture % "second"}
    [[scenario.step]]
    run = "echo {{{{ first }}}} {{{{ second }}}} {{{{ last }}}}"
    {capture % "own"}
    [[scenario.cleanup]]
    run = "echo {{{{ own }}}} {{{{ last }}}}"
    {capture % "last"}
    """
    assert head(project.refuse(text)) == [
        'FILE:3:5: setup[0].run: names "own" before a step captures it',
        'FILE:13:5: scenario[0].step[0].run: names "last" before a step captures it',
        'FILE:16:5: scenario[0].cleanup[0].run: names "last" before a step captures it',
    ]


def test_steps_of_a_scenario_in_their_order(project: Any) -> None:
    """The file's setup comes first, its cleanup last; each knows what it is."""
    text = """
    [[setup]]
    run = "1"
    [[cleanup]]
    run = "5"
    [[scenario]]
    name = "s"
    [[scenario.cleanup]]
    name = "own"
    run = "4"
    [[scenario.step]]
    run = "3"
    [[scenario.setup]]
    run = "2"
    """
    scenario = project.one(text)
    assert [(each.action.run, each.phase, each.name) for each in scenario.steps] == [
        ("1", "setup", "setup 1"),
        ("2", "setup", "setup 1"),
        ("3", "test", "step 1"),
        ("4", "cleanup", "own"),
        ("5", "cleanup", "cleanup 1"),
    ]
    assert [each.at for each in scenario.steps] == [
        ("setup", 0),
        ("scenario", 0, "setup", 0),
        ("scenario", 0, "step", 0),
        ("scenario", 0, "cleanup", 0),
        ("cleanup", 0),
    ]
