"""Blocks of steps: what a use becomes, and every mistake with both places."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.model.key_path import file_and_path
from pytest_clnrm.model.scenario import Scenario
from pytest_clnrm.model.step import Command
from pytest_clnrm.scenario.locating import locate, source_of
from pytest_clnrm.scenario.templates.arguments import filled
from pytest_clnrm.scenario.templates.binding import bind_step
from pytest_clnrm.scenario.templates.render import TemplateError

LOGIN = """
[steps.login]
args = ["user"]
defaults = { role = "reader", code = 3 }
[[steps.login.step]]
name = "get"
run = "login {{ args.user }} {{ args.role }}"
expect = { exit = "{{ args.code }}" }
capture = { token = { regex = ".*" } }
[[steps.login.step]]
run = ["show", "{{ token }}"]
check = [{ log = "web", since = "get", content = { contains = "{{ args.user }}" } }]
"""
WEB = '[service.web]\nimage = "x"\n'
BOB = '[[step]]\nuse = "login"\nwith = { user = "bob" }\n'


def runs(scenario: Scenario) -> dict[str, Any]:
    """Return what each step runs, by its name."""
    return {each.name: each.action.run for each in scenario.steps if isinstance(each.action, Command)}


def test_a_use_is_the_steps_of_its_block(project: Any) -> None:
    """Arguments are filled in, numbers stay numbers, and what the block captures is named afterwards."""
    scenario = project.one(f'{LOGIN}{WEB}{BOB}[[step]]\nname = "use"\nrun = "{{{{ token }}}}"\n')
    assert runs(scenario) == {
        "login: get": "login bob reader",
        "login: step 2": ("show", "{{ token }}"),
        "use": "{{ token }}",
    }
    get, show, use = scenario.steps
    assert get.expect.exit_in == (3,)
    assert [each.name for each in get.captures] == ["token"]
    assert show.checks[0].since == "login: get"
    assert (show.templated, use.templated) == (True, True)
    assert get.at == ("steps", "login", "step", 0)
    assert use.at == ("step", 1)
    assert locate(scenario.file, get.at) == (5, 1)


def test_several_uses_have_names_of_their_own(project: Any) -> None:
    """Each use of a file or scenario can be told from the others; what they capture is the latest."""
    text = LOGIN + WEB + BOB + BOB.replace("bob", "eve") + BOB + 'name = "again"\n'
    assert list(runs(project.one(text))) == [
        "login: get", "login: step 2", "login (2): get", "login (2): step 2", "again: get", "again: step 2"
    ]  # fmt: skip


def test_in_all_lists_and_scenarios(project: Any) -> None:
    """A use stands wherever a step does; steps that name no service have that of the use."""
    block = '[steps.a]\n[[steps.a.step]]\nrun = "x"\n[[steps.a.step]]\nhttp = "GET http://web/"\n'
    use = 'use = "a"\nservice = "web"\n'
    lists = f"[[setup]]\n{use}[[cleanup]]\n{use}"
    scenarios = f'[[scenario]]\nname = "s"\n[[scenario.setup]]\n{use}[[scenario.step]]\n{use}'
    scenario = project.one(f'{block}{WEB}[service.db]\nimage = "x"\n{lists}{scenarios}')
    assert [each.phase for each in scenario.steps] == ["setup"] * 4 + ["test"] * 2 + ["cleanup"] * 2
    assert {each.service for each in scenario.steps} == {"web"}


def test_a_block_uses_another(project: Any) -> None:
    """What it is given it hands on, and a number stays one."""
    outer = '[steps.outer]\nargs = ["who", "code"]\n[[steps.outer.step]]\nuse = "login"\n'
    outer += (
        'with = { user = "<{{ args.who }}>", code = "{{ args.code }}" }\n[[steps.outer.step]]\nrun = "end"\n'
    )
    use = '[[step]]\nuse = "outer"\nwith = { who = "bob", code = 7 }\nservice = "web"\n'
    scenario = project.one(LOGIN + outer + WEB + use)
    assert next(iter(runs(scenario).items())) == ("outer: step 1: get", "login <bob> reader")
    assert list(runs(scenario)) == ["outer: step 1: get", "outer: step 1: step 2", "outer: step 2"]
    assert scenario.steps[0].expect.exit_in == (7,)


def test_arguments_may_name_what_steps_may(project: Any) -> None:
    """Variables are filled in when the file is read, captured values when the step runs."""
    text = (
        '[vars]\nme = "al"\n[steps.a]\nargs = ["x"]\n[[steps.a.step]]\n'
        'run = "{{ args.x }} {{ args.x | upper }} {% if args.x %}yes{% endif %}"\n'
        '[[step]]\nrun = "x"\ncapture = { id = { regex = "." } }\n'
    )
    named = project.one(text + '[[step]]\nuse = "a"\nwith = { x = "{{ me }}-1" }\n')
    assert runs(named)["a: step 1"] == "al-1 AL-1 yes"
    captured = project.one(text + '[[step]]\nuse = "a"\nwith = { x = "/{{ me }}/{{ id }}" }\n').steps[1]
    assert captured.templated
    action = bind_step(captured, {"me": "al", "id": "q"}, frozenset({"id"})).action
    assert isinstance(action, Command)
    assert action.run == "/al/q /AL/Q yes"


def test_a_file_of_blocks(project: Any) -> None:
    """It is found from the file that names it; its own uses are of its own blocks, and of files beside it."""
    project.write(LOGIN, "a/shared/login.toml")
    project.write(
        '[steps.both]\n[[steps.both.step]]\nuse = "one"\n'
        '[[steps.both.step]]\nuse = "../shared/login.toml#login"\n'
        'with = { user = "x" }\n[steps.one]\n[[steps.one.step]]\nrun = "one"\n',
        "a/other/more.toml",
    )
    (scenario,) = project.load(
        f'{WEB}[[step]]\nuse = "../other/more.toml#both"\n', name="a/b/orders.clnrm.toml"
    )
    assert list(runs(scenario).values())[:2] == ["one", "login x reader"]
    step = scenario.steps[1]
    login = str(project.root / "a/shared/login.toml")
    assert file_and_path(step.at) == (login, ("steps", "login", "step", 0))
    assert locate(scenario.file, step.at) == (5, 1)
    assert source_of(scenario.file, step.at)[1][:2] == ("[[steps.login.step]]", 'name = "get"')


def test_in_a_file_that_is_rendered_whole(project: Any) -> None:
    """There too arguments are filled in where the block is used, and captured values when it runs."""
    text = f"""
        {LOGIN.replace("{{ args.role }}", "{{ args.role | upper }}")}
        {WEB}
        {{% for who in ["al", "bo"] %}}
        [[step]]
        use = "login"
        with = {{ user = "{{{{ who }}}}" }}
        {{% endfor %}}
    """
    assert list(runs(project.one(text)).items())[2:] == [
        ("login (2): get", "login bo READER"),
        ("login (2): step 2", ("show", "{{ token }}")),
    ]


def test_a_large_file_of_blocks_is_read_within_limits(project: Any, monkeypatch: Any) -> None:
    """As a scenario file that is large is: in the process with limits."""
    project.write(LOGIN + "#" * (17 << 10) + "\n", "login.toml")
    seen: list[Any] = []

    def confined(function: Any, *args: Any) -> Any:
        seen.append(args)
        monkeypatch.setattr("pytest_clnrm.scenario.loading.confined", lambda: True)
        return function(*args)

    monkeypatch.setattr("pytest_clnrm.scenario.templates.confined.run_confined", confined)
    project.one(WEB + BOB.replace("login", "login.toml#login"))
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("{{ args.x }}", "a{{ id }}"),
        ("{{ args.n }} {{ args.f }} {{ args.t }}", "5 1.5 true"),
        ("{{ args.x | upper }}", '{{ ("a" ~ (id)) | upper }}'),
        ("{{ args['q'] ~ args.n }}", '{{ ("say \\"\\\\\\n") ~ (5) }}'),
        (
            "{% for each in args.l %}{{ each }}{% endfor %}",
            '{% for each in (["é", 1]) %}{{ each }}{% endfor %}',
        ),
        ("{{ args.d }}", '["2026-01-01"]'),
        ("{% raw %}{{ args.x }}{% endraw %} args.x", "{% raw %}a{{ id }}{% endraw %} args.x"),
        ("{{ args.e }}{{ args.e ~ 1 }}", '{{ ("") ~ 1 }}'),
    ],
)
def test_filling_in(text: str, given: str) -> None:
    """A whole template becomes what was given, a part of an expression an expression."""
    args = {
        "x": "a{{ id }}",
        "n": 5,
        "f": 1.5,
        "t": True,
        "q": 'say "\\\n',
        "l": ["é", 1],
        "e": "",
        "d": [date(2026, 1, 1)],
    }
    assert filled(text, args, set()) == given


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{{ args }}", "an argument is named args.NAME"),
        ("{{ args | length }}", "an argument is named args.NAME"),
        ("{{ args[x] }}", "an argument is named args.NAME, by a constant name"),
        ("{{ args.y }}", 'the block has no argument "y"; it has: x, s'),
        ("{{ args.y | upper }}", 'the block has no argument "y"; it has: x, s'),
        (
            "{{ args.s | upper }}",
            "an argument with a statement ({% %}) cannot stand in an expression",
        ),
    ],
)
def test_what_cannot_be_filled_in(text: str, told: str) -> None:
    """It is said why."""
    with pytest.raises(TemplateError) as raised:
        filled(text, {"x": "a", "s": "{% if a %}b{% endif %}"}, set())
    assert str(raised.value) == told


CASES: dict[str, tuple[str, list[str]]] = {
    "unknown block": (
        LOGIN + WEB + BOB + '[[step]]\nuse = "logn"\n',
        ['FILE:19:1: step[1].use: there is no block "logn"; known: login (did you mean "login"?)'],
    ),
    "no block at all": (
        '[[step]]\nuse = "login"\n',
        ['FILE:2:1: step[0].use: there is no block "login"; known: none is defined'],
    ),
    "a number": (
        "[[step]]\nuse = 5\n",
        ["FILE:2:1: step[0].use: expected text, found 5"],
    ),
    "missing and unknown arguments": (
        LOGIN + WEB + '[[step]]\nuse = "login"\nwith = { usr = "bob" }\n',
        [
            'FILE:15:1: step[0]: the block "login" needs the argument user (write with = { user = ... })',
            (
                'FILE:17:10: step[0].with.usr: the block "login" has no argument "usr"; it has: user, role, '
                'code (did you mean "user"?)'
            ),
        ],
    ),
    "no table": (
        LOGIN + WEB + '[[step]]\nuse = "login"\nwith = "bob"\n',
        ['FILE:17:1: step[0].with: expected a table, found "bob"'],
    ),
    "values that cannot be given": (
        f'{LOGIN}{WEB}[[step]]\nuse = "login"\nname = 5\nwith = {{ user = 2026-01-01, "a b" = 1 }}\n',
        [
            "FILE:17:1: step[0].name: expected text, found 5",
            "FILE:18:10: step[0].with.user: expected ",
            "FILE:18:29: step[0].with",
        ],
    ),
    "keys that do not go with it": (
        LOGIN + WEB + BOB + 'timeout = 5\nrun = "x"\n',
        [
            (
                "FILE:18:1: step[0].timeout: `timeout` does not go with use, which takes with, service, name "
                "(write it in the steps of the block)"
            ),
            (
                "FILE:19:1: step[0].run: `run` does not go with use, which takes with, service, name "
                "(write it in the steps of the block)"
            ),
        ],
    ),
    "with alone": (
        '[[step]]\nrun = "x"\nwith = { a = 1 }\n',
        ["FILE:3:1: step[0].with: `with` goes with use only, and this step has `run`"],
    ),
    "an argument that the block does not name": (
        (
            '[steps.a]\nargs = ["x"]\ndefaults = { y = 1 }\n[[steps.a.step]]\nrun = "x"\n'
            '[[step]]\nuse = "a"\nwith = { x = 1 }\n'
        ),
        [
            (
                'FILE:2:9: steps.a.args[0]: no step of the block names "x" '
                "(write {{ args.x }}; used in line 6)"
            ),
            (
                'FILE:3:14: steps.a.defaults.y: no step of the block names "y" '
                "(write {{ args.y }}; used in line 6)"
            ),
        ],
    ),
    "an argument that is none": (
        '[steps.a]\n[[steps.a.step]]\nrun = "{{ args.x }}"\n[[step]]\nuse = "a"\n',
        [('FILE:3:1: steps.a.step[0].run: the block has no argument "x"; it has: none (used in line 4)')],
    ),
    "in both": (
        (
            '[steps.a]\nargs = ["x"]\ndefaults = { x = 1 }\n[[steps.a.step]]\nrun = "{{ args.x }}"\n'
            '[[step]]\nuse = "a"\nwith = { x = 1 }\n'
        ),
        ["FILE:3:14: steps.a.defaults.x: is in `args` too, which says that each use gives it"],
    ),
    "arguments outside of a block": (
        LOGIN + WEB + BOB + '[[step]]\nrun = "{{ args.user }}"\n',
        ["FILE:19:1: step[1].run: only the steps of a block have arguments"],
    ),
    "itself": (
        (
            '[steps.a]\n[[steps.a.step]]\nuse = "b"\n[steps.b]\n[[steps.b.step]]\nuse = "a"\n'
            '[[step]]\nuse = "a"\n'
        ),
        [("FILE:6:1: steps.b.step[0].use: a block cannot use itself: a uses b uses a (used in line 7)")],
    ),
    "used by nobody": (
        LOGIN + '[[step]]\nrun = "x"\n',
        [
            (
                'FILE:2:1: steps.login: no step of this file uses the block "login" '
                '(remove it, or move it to a file of blocks: use = "FILE.toml#login")'
            )
        ],
    ),
    "no steps": (
        '[steps.a]\n[[step]]\nuse = "a"\n',
        ['FILE:1:1: steps.a: the key "step" is missing'],
    ),
    "a list of steps": (
        '[[steps.a]]\nrun = "x"\n[[step]]\nuse = "a"\n',
        ["FILE:1:1: steps.a: expected a table, found a list"],
    ),
    "a mistake in a step": (
        '[steps.a]\n[[steps.a.step]]\nrn = "x"\n[[step]]\nuse = "a"\n[[step]]\nuse = "a"\n',
        [
            'FILE:3:1: steps.a.step[0].rn: unknown key "rn"; allowed here: name, service, run, ',
        ],
    ),
    "an argument of the wrong type": (
        LOGIN + WEB + BOB.replace('"bob"', '"bob", code = "many"'),
        ['FILE:8:12: steps.login.step[0].expect.exit: expected a whole number or a table, found "many"'],
    ),
    "captured twice": (
        LOGIN + WEB + BOB + '[[step]]\nrun = "x"\ncapture = { token = { regex = "x" } }\n',
        ['FILE:20:13: step[1].capture.token: "token" is captured by an earlier step'],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_mistakes(project: Any, head: Any, case: str) -> None:
    """Each is told at its place, and where the block is used."""
    text, told = CASES[case]
    found = head(project.refuse(text))
    assert len(found) == len(told), found
    for one, other in zip(found, told, strict=True):
        assert one.startswith(other), found


OTHER: dict[str, tuple[str, str]] = {
    "no such file": ("none.toml#a", "step[0].use: ROOT/none.toml: No such file or directory"),
    "no TOML": ("bad.toml#a", "step[0].use: bad.toml:2:3: not valid TOML: Expected '=' after a key"),
    "no such block": ("blocks.toml#b", 'step[0].use: there is no block "b" in blocks.toml; known: a, c'),
    "not TOML by its name": (
        "blocks.txt#a",
        'step[0].use: a file of blocks ends with .toml, found "blocks.txt"',
    ),
    "outside": ("../out.toml#a", "step[0].use: lies outside of the project"),
    "a link that leads outside": ("link.toml#a", "step[0].use: lies outside of the project (it leads to"),
    "a mistake in a step": (
        "blocks.toml#a",
        'step[0]: blocks.toml:3:1: steps.a.step[0].rn: unknown key "rn"; allowed here: name, ',
    ),
    "an argument that is none": (
        "blocks.toml#c",
        'step[0]: blocks.toml:6:1: steps.c.step[0].run: the block has no argument "x"; it has: none',
    ),
    "wrong blocks": ("wrong.toml#a", 'step[0].use: wrong.toml:1:1: steps.a: the key "step" is missing'),
}


@pytest.mark.parametrize("case", OTHER)
def test_mistakes_of_files_of_blocks(project: Any, head: Any, tmp_path: Path, case: str) -> None:
    """Each is told at the use, with the place in the other file."""
    use, told = OTHER[case]
    project.write(
        '[steps.a]\n[[steps.a.step]]\nrn = "x"\n[steps.c]\n[[steps.c.step]]\nrun = "{{ args.x }}"\n',
        "blocks.toml",
    )
    project.write("x = 1\na b\n", "bad.toml")
    project.write("[steps.a]\n", "wrong.toml")
    outside = tmp_path.parent / f"{tmp_path.name}-out.toml"
    outside.write_text('[steps.a]\n[[steps.a.step]]\nrun = "secret"\n')
    (project.root / "link.toml").symlink_to(outside)
    use = use.replace("../out.toml", f"../{outside.name}")
    found = head(project.refuse(f'[[step]]\nuse = "{use}"\n'))
    assert any(
        each.partition(": ")[2].startswith(told.replace("ROOT", str(project.root))) for each in found
    ), found
    assert "secret" not in "".join(found)


def test_too_many_steps(project: Any, head: Any) -> None:
    """Blocks that double one another end in a mistake, not in a full memory."""
    blocks = "".join(f"[steps.b{i}]\n" + f'[[steps.b{i}.step]]\nuse = "b{i + 1}"\n' * 8 for i in range(12))
    text = f'{blocks}[steps.b12]\n[[steps.b12.step]]\nrun = "x"\n[[step]]\nuse = "b0"\n'
    (found,) = head(project.refuse(text))
    assert "blocks make more than 10000 steps of this file" in found


def test_older_files_are_untouched(project: Any) -> None:
    """``[[steps]]`` are steps of an older dialect, in which nothing is a use."""
    scenario = project.one('[[steps]]\nname = "a"\ncommand = ["true"]\nuse = "x"\n')
    assert [each.path for each in scenario.unchecked] == ["steps[0].use"]
