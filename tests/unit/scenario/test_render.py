"""Templates: what they may say, what they may not, and that each process says the same."""

from __future__ import annotations

import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from pytest_clnrm.model.captured import captured_text
from pytest_clnrm.model.http import HttpRequest
from pytest_clnrm.model.json_checks import JsonChecks, JsonPathExpect, JsonTest
from pytest_clnrm.model.step import Command, Step, StepExpect
from pytest_clnrm.model.text import TextExpect
from pytest_clnrm.scenario.templates.binding import bind_step
from pytest_clnrm.scenario.templates.confined import bind
from pytest_clnrm.scenario.templates.environ import moment
from pytest_clnrm.scenario.templates.render import Renderer, TemplateError, names_deferred

VARIABLES = {
    "name": "Orders",
    "count": 3,
    "on": True,
    "list": [3, 4],
    "table": {"b": 1, "items": ["x"]},
    "rows": [{"n": 1, "k": "a"}, {"n": 2}],
}


def renderer(deferred: frozenset[str] = frozenset(), **variables: Any) -> Renderer:
    """Return a renderer of :data:`VARIABLES`, completed by *variables*."""
    environ = {"HOME": "/home/me", "TOKEN": "secret", "PYTEST_XDIST_WORKER": "gw0"}
    return Renderer(
        {**VARIABLES, **variables},
        {"database": "16"},
        ("HOME", "UNSET", "PYTEST_XDIST_WORKER"),
        environ,
        "seed",
        deferred,
        1_700_000_000.0,
    )


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{ name }} {{ vars.table.b }}", "Orders 1"),
        ("{{ table.items[0] }}", "x"),
        ("{{ matrix.database }}", "16"),
        ("{{ env.HOME }} {{ env(name='HOME') }} {{ env['HOME'] }}", "/home/me /home/me /home/me"),
        ("{{ get_env(name='NONE', default='d') }}", "d"),
        ("{{ env.NONE | default('d') }}", "d"),
        ("{{ missing | default(value='d') }} {{ '' | default('e', true) }} {{ name | default('x') }}",
         "d e Orders"),
        ("{{ on }}", "true"),
        ("${#name} {{ name }}", "${#name} Orders"),
        ("{{ name | upper | replace(from='R', to='_') }}", "O_DE_S"),
        ("{{ name | replace('O', '0') }}", "0rders"),
        ("{{ list | length }} {{ list | join(sep='+') }} {{ list | nth(n=1) }}", "2 3+4 4"),
        ("{{ 'Ä b!' | slugify }} {{ slug(s='A b') }}", "a-b a-b"),
        ("{{ kebab(s='myName x') }} {{ snake(s='myName-x') }}", "my-name-x my_name_x"),
        ("{{ toml_encode(value=table) }}", '{ "b" = 1, "items" = ["x"] }'),
        ("{{ toml_encode(value='a\"b') }} {{ true | toml_encode }} {{ {} | toml_encode }}",
         '"a\\"b" true {}'),
        ("{{ list | json_encode }} {{ table | tojson }}", '[3, 4] {"b": 1, "items": ["x"]}'),
        ("{{ sha256(s='a') }}", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("{{ now_rfc3339() }} {{ now_unix() }}", "2023-11-14T22:13:20Z 1700000000"),
        ("{{ now_ms() }} {{ now_plus(seconds=40) }}", "1700000000000 2023-11-14T22:14:00Z"),
        ("{{ now() }} {{ now(timestamp=true) | date(format='%Y') }}", "2023-11-14T22:13:20Z 2023"),
        ("{{ '2024-01-02T03:04:05Z' | date }}", "2024-01-02"),
        ("{{ seq(name='a') }}{{ seq(name='a') }}{{ seq(name='b', start=7) }}", "017"),
        ("{% for i in range(end=3) %}{{ i }}{% if not loop.last %},{% endif %}{% endfor %}", "0,1,2"),
        ("{% for key, value in table %}{{ key }}{% endfor %}", "bitems"),
        ("{% for key, value in [[1, 2]] %}{{ value }}{% endfor %}", "2"),
        ("{{ rows | filter(attribute='k') | length }}{{ rows | filter(attribute='n', value=2) | length }}",
         "11"),
        ("{{ rows | join(',', 'n') }}", "1,2"),
        ("{{ table | get(key='c', default='d') }} {{ list | slice(start=1) }}", "d [4]"),
        ("{{ list | concat(with=5) }} {{ list | concat(with=[6]) }}", "[3, 4, 5] [3, 4, 6]"),
        ("{{ 'a,b' | split(pat=',') | last }} {{ 'xxa' | trim_start_matches(pat='x') }}", "b a"),
        ("{{ 'axx' | trim_end_matches(pat='x') }}{{ 'abcdef' | truncate(length=2) }}", "aab…"),
        ("{{ 'ab' is starting_with('a') }} {{ 'ab' is ending_with('a') }} {{ 'ab' is containing('b') }}",
         "true false true"),
        ("{{ table is object }} {{ 1 | pluralize }} {{ 2 | pluralize(plural='es') }}", "true  es"),
        ("{{ uuid_v5(ns='6ba7b810-9dad-11d1-80b4-00c04fd430c8', name='x') }}",
         str(uuid.uuid5(uuid.NAMESPACE_DNS, "x"))),
        ("{{ baggage(map={'a': 1}, b=2) }}", "a=1,b=2"),
        ("{{ 2 * 3 }}{{ 'ab' * 2 }}{{ 2 ** 3 }}{{ 7 % 4 }}", "6abab83"),
        ('{{ "it\'s" | addslashes }} {{ 3 | as_str ~ "x" }}', "it\\'s 3x"),
        ("{{ ' a ' | trim_end }}|{{ ' a ' | trim_start }}|{{ 'a b/' | urlencode_strict }}", " a|a |a%20b%2F"),
    ],
)  # fmt: skip
def test_rendered(template: str, text: str) -> None:
    """A template says what Tera's (or Jinja's) documentation says it does."""
    assert renderer().render_value(template) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ nam }}", r"'nam' is not defined: .*; did you mean 'name'\?"),
        ("{{ uuuid() }}", r"'uuuid' is not defined: .*; did you mean 'uuid'\?"),
        (
            "{{ qqq }}",
            (
                r"'qqq' is not defined: \[vars\] has name, count, on, list, table, rows; "
                r"braces that are no template stand in \{% raw %\}...\{% endraw %\}$"
            ),
        ),
        (
            "{{ matrix.databse }}",
            r"there is no 'databse' in \[matrix\], which has database; did you mean 'database'\?",
        ),
        ("{{ name.first }}", r"there is no 'first' in this value"),
        ("{{ x", r"the template is not valid: "),
        ("ps --format '{{.Names}}'", r"unexpected '\.'; braces that are no template stand in \{% raw %\}"),
        ("{{ env.TOKEN }}", r"environment variable TOKEN is not listed in clnrm_env"),
        ("{{ env.TOKEN | default('x') }}", r"environment variable TOKEN is not listed in clnrm_env"),
        ("{{ env.NONE }}", r"environment variable NONE is not listed in clnrm_env"),
        ("{{ env(name='NONE') }}", r"environment variable NONE is not listed in clnrm_env"),
        ("{{ env.UNSET }}", r"environment variable UNSET is not set"),
        ("{{ env.PYTEST_XDIST_WORKER }}", r"PYTEST_XDIST_WORKER differs between workers and cannot be used"),
        ("{% include 'x' %}", r"a template cannot include, import or extend other files"),
        ("{{ 1 / 0 }}", r"the template fails: division by zero"),
        ("{{ throw(message='boo') }}", r"^boo$"),
        ("{{ pick(list=[]) }}", r"pick\(\) takes list = \[\.\.\.\], which is not empty"),
        ("{{ sample(list=list, k=3) }}", r"sample\(\) takes k = 0 to 2 of 2 items, not 3"),
        ("{{ weighted(pairs=[]) }}", r"weighted\(\) takes pairs = "),
        ("{{ fake_int(min=3, max=1) }}", r"min = 3 is more than max = 1"),
        ("{{ toml_encode(value=none) }}", r"TOML has no null"),
        ("{{ rand_hex(n=-1) }}", r"-1 digits are not between 0 and"),
        ("{{ ''.__class__.__mro__ }}", r"access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ ().__class__ }}", r"is unsafe"),
        ("{{ list.append(1) }}", r"access to attribute 'append' of 'list' object is unsafe"),
        ("{% set _ = table.update(a=1) %}", r"access to attribute 'update' of 'dict' object is unsafe"),
        ("{% set l = [1] %}{% for _ in range(40) %}{{ l.extend(l) }}{% endfor %}", r"'extend' of 'list'"),
        ("{{ 'x'.format(1) }}", r"access to attribute 'format'"),
        ("{{ lipsum() }}", r"'lipsum' is not defined"),
        ("{{ [1] | random }}", r"No filter named 'random'"),
        ("{{ '%9d' % 1 }}", r"texts are not formatted with %"),
        ("{{ range(1000000) }}", r"range\(\) of 1000000 numbers; at most 100000 are allowed"),
        ("{{ 9 ** 999999999 }}", r"the number has more than 4096 bits"),
        ("{{ 'x' * 99999999 }}", r"the text gets longer than"),
        ("{{ [1] * 99999999 }}", r"the template does too much work"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", r"too much work"),
        (
            "{% macro m(n) %}{{ m(n - 1) ~ m(n - 1) if n else 'x' }}{% endmacro %}{{ m(60) }}",
            r"too much work",
        ),
        ("{% for x in [1] recursive %}{{ loop(range(99999)) }}{% endfor %}", r"too much work|too deeply"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", r"the template is nested too deeply"),
        ("{{ " + "(" * 9999 + "1" + ")" * 9999 + " }}", r"the template is nested too deeply"),
        ("{% set a = 'x' * 999999 %}{% set b = a ~ a %}", r"the text gets longer than 1048576 characters"),
        ("{{ ('a' * 9999) | replace('a', 'b' * 9999) }}", r"the text gets longer than"),
        ("{{ [('a' * 999999), ('a' * 999999)] | join }}", r"the text gets longer than"),
        ("{% set a = 'x' * 999999 %}{{ a }}{{ a }}", r"the rendered text gets longer than 1048576"),
        ("{{ 1 }}" + "x" * 1048576, r"the template is longer than 1048576 characters"),
    ],
)
def test_refused(template: str, message: str) -> None:
    """A wrong, forbidden or expensive template is an error with the place and a message to act on."""
    with pytest.raises(TemplateError, match=message) as caught:
        renderer().render_value({"step": [{"run": template}]})
    assert caught.value.path == ("step", 0, "run")
    assert caught.value.line == 0
    # What is looked for in a file before, names of captured values, makes no other error of it.
    in_a_file = message.partition("; braces that are no template")[0]
    for deferred in (frozenset[str](), frozenset({"row"})):
        with pytest.raises(TemplateError, match=in_a_file):
            renderer(deferred).render_text(template)


def test_work_of_a_file_is_bounded() -> None:
    """Many expensive strings end when the file's share is spent, and say so."""
    one = renderer()
    costly = "{% for a in range(90000) %}{% endfor %}"
    assert one.render_value([costly] * 50) == [""] * 50
    with pytest.raises(TemplateError, match="too much work"):
        one.render_value([costly] * 10)


def test_values_of_any_shape() -> None:
    """Strings at any depth are rendered; what is no string, and keys, stay."""
    value = {"{{ name }}": [1, None, {"a": "{{ count }}"}, True]}
    assert renderer().render_value(value) == {"{{ name }}": [1, None, {"a": "3"}, True]}


def test_seeded_functions_agree() -> None:
    """Two renderers of one seed give the same, another seed gives something else."""
    template = (
        "{{ uuid() }} {{ uuid_v7() }} {{ ulid() }} {{ pick(list=list) }} {{ sample(array=list, n=1) }} "
        "{{ shuffle(list=list) }} {{ trace_id() }} {{ span_id() }} {{ traceparent() }} {{ rand_hex(n=80) }} "
        "{{ weighted(pairs=[['a', 1], ['b', 2]]) }} {{ fake_int(min=1, max=9) }}"
    )
    first = renderer().render_value(template)
    assert first == renderer().render_value(template)
    assert first != Renderer(VARIABLES, {}, (), {}, "other").render_value(template)
    assert uuid.UUID(first.split()[0]).version == 4
    assert uuid.UUID(first.split()[1]).version == 7
    assert uuid.UUID(first.split()[1]).variant == uuid.RFC_4122
    same = renderer().render_value("{{ uuid(seed=1) }} {{ uuid(seed=1) }} {{ shuffle(list=list, seed=2) }}")
    assert same.split()[0] == same.split()[1]


def test_variable_called_env() -> None:
    """A variable called env is shown as such, and still is the environment where it is asked."""
    template = "{{ env }} {{ env.HOME }} {{ env(name='HOME') }} {{ env[0] }} {{ env == 'ci' }}"
    assert renderer(env="ci").render_value(template) == "ci /home/me /home/me c true"
    with pytest.raises(TemplateError, match="NONE is not listed in clnrm_env"):
        renderer(env="ci").render_value("{{ env.NONE }}")
    assert renderer(env={"HOME": "own"}).render_value("{{ env.HOME }}") == "own"


def test_whole_file() -> None:
    """Statements are rendered, and blocks that name captured values stand for themselves."""
    text = "{# gone #}a\n{% for i in list %}x{{ i }}\n{% endfor %}{{ row }} {{ row | upper }} {{ name }}\n"
    assert renderer(frozenset({"row"})).render_text(text) == "a\nx3\nx4\n{{ row }} {{ row | upper }} Orders\n"
    assert renderer().render_text("{{ name }}") == "Orders"


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\nb\n{{ nam }}", 3), ("a\n{% for %}\n", 2), ("a\n\n{% for x in list %}\n{{ 1 / 0 }}{% endfor %}", 4)],
)
def test_whole_file_tells_the_line(text: str, line: int) -> None:
    """A mistake in a whole file has its line."""
    with pytest.raises(TemplateError) as caught:
        renderer().render_text(text)
    assert (caught.value.line, caught.value.path) == (line, ())


def test_deferred_names() -> None:
    """What names captured values waits; what else stands in the string is filled in now."""
    deferred = frozenset({"row"})
    one = renderer(deferred, tricky="{{ x }}{% y %}")
    assert one.render_value("{{ name }} {{ row }} {{ row | int }}") == "Orders {{ row }} {{ row | int }}"
    assert one.render_value("{% if row %}{{ name }}{% endif %}") == "{% if row %}{{ name }}{% endif %}"
    later = one.render_value("{{ tricky }} {{ row }} z")
    assert Renderer({"row": 1}, {}, (), {}, "s").render_value(later) == "{{ x }}{% y %} 1 z"
    with pytest.raises(TemplateError, match="'nam' is not defined"):
        one.render_value("{{ row }} {{ nam }}")


def test_names_deferred() -> None:
    """Names are found at any depth, in templates only, and not where a loop defines them."""
    deferred = frozenset({"row"})
    assert names_deferred({"a": ["x", {"b": "{{ row.x }}"}]}, deferred)
    assert names_deferred(("{% if row %}{% endif %}",), deferred)
    assert not names_deferred(["row", "{{ other }}", 3, "{{ 'row' }}"], deferred)
    assert not names_deferred("{% for row in x %}{{ row }}{% endfor %}", deferred)
    assert not names_deferred("{{ row", deferred)
    assert not names_deferred("{{ row }}", frozenset())


def test_bind_step() -> None:
    """A step's strings are filled in with captured values, whatever part they stand in."""
    step = Step(
        name="s",
        service="db",
        action=Command(
            run=("echo", "{{ row }}"),
            env={"R": "{{ row }}"},
            stdin="{{ row }}",
            workdir="/{{ row }}",
            at=("step", 0),
        ),
        expect=StepExpect(
            exit_in=(3,),
            stdout=TextExpect(contains=("{{ row }}",), json={"a": ["{{ row }}"]}, has_json=True),
        ),
        templated=True,
        at=("step", 0),
    )
    bound = bind_step(step, {"row": "7"}, frozenset({"row"}))
    did = bound.action
    assert isinstance(did, Command)
    assert (did.run, did.env, did.stdin, did.workdir) == (("echo", "7"), {"R": "7"}, "7", "/7")
    assert bound.expect.stdout is not None
    assert (bound.expect.stdout.contains, bound.expect.stdout.json) == (("7",), {"a": ["7"]})
    assert (bound.expect.exit_in, bound.expect.stderr, bound.templated) == ((3,), None, False)
    with pytest.raises(TemplateError, match="'row' is not defined") as caught:
        bind_step(step, {}, frozenset({"row"}))
    assert caught.value.path == ("step", 0, "run", 1)


CAPTURED = {"id": 17, "obj": {"x": [1.5]}, "text": "17", "nil": None, "on": True}


def test_json_values_keep_their_type() -> None:
    """Where a JSON value is one name it is what was captured as JSON; anywhere else it is its text."""

    def tested(op: Any, value: Any) -> JsonPathExpect:
        checks = JsonChecks(tests=(JsonTest(op=op, value=value),))
        return JsonPathExpect(path="$.a", checks=JsonChecks(tests=(JsonTest(op="each", value=checks),)))

    shape = {"a": ["{{ id }}", {"b": "{{ obj }}"}], "c": "{{ text }}", "d": "no {{ id }}", "e": "{{id}}"}
    action = HttpRequest(url="http://api/{{ id }}", json=shape, has_json=True, headers={"A": "{{ id }}"})
    step = Step(
        name="s",
        service="api",
        action=action,
        expect=StepExpect(
            stdout=TextExpect(
                equals="{{ id }}",
                json="{{ nil }}",
                has_json=True,
                jsonpath=(tested("one_of", ("{{ id }}", "{{ on }}")), tested("as_text", "{{ id }}")),
            )
        ),
        templated=True,
    )
    captured = {name: captured_text(value) for name, value in CAPTURED.items()}
    bound = bind_step(step, captured, frozenset(captured))
    sent, text = bound.action, bound.expect.stdout
    assert isinstance(sent, HttpRequest)
    assert text is not None
    assert sent.json == {"a": [17, {"b": {"x": [1.5]}}], "c": "17", "d": "no 17", "e": 17}
    assert (sent.url, sent.headers, text.equals, text.json) == ("http://api/17", {"A": "17"}, "17", None)
    one_of, as_text = (each.checks.tests[0].value.tests[0].value for each in text.jsonpath)
    assert one_of == (17, True)
    assert as_text == "17"
    # A template that does more is rendered in another process, to which captured values are sent.
    more = replace(
        step, action=replace(action, json={"f": "{{ obj | upper }}", "g": "{{ id }}", "h": "{{ id|string }}"})
    )
    sent = bind(bind_step, more, captured, frozenset(captured), wall_s=60).action
    assert isinstance(sent, HttpRequest)
    assert sent.json == {"f": '{"X":[1.5]}', "g": 17, "h": "17"}


def test_moment() -> None:
    """The frozen clock wins, then SOURCE_DATE_EPOCH, then the file's time; nonsense counts for nothing."""
    noon = datetime(2024, 1, 2, 12, tzinfo=timezone.utc)
    assert moment("2024-01-02T12:00:00Z", {}) == noon.timestamp()
    assert moment(noon, {}) == moment(noon.replace(tzinfo=None), {}) == noon.timestamp()
    assert moment("nonsense", {"SOURCE_DATE_EPOCH": "5"}, 7.0) == 5
    assert moment(None, {"SOURCE_DATE_EPOCH": "x"}, 7.0) == 7
    assert moment(3, {}) == datetime(2025, 1, 1, tzinfo=timezone.utc).timestamp()


def test_jinja_is_not_loaded_without_templates() -> None:
    """Files without templates do not pay for Jinja2."""
    program = (
        "import sys\n"
        "from pytest_clnrm.scenario.templates.render import Renderer, names_deferred\n"
        "Renderer({}, {}, (), {}, 's', frozenset({'a'})).render_value({'a': ['x{y}']})\n"
        "names_deferred('a', frozenset({'a'}))\n"
        "sys.exit('jinja2' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_what_is_no_template_stays(project: Any) -> None:
    """Marks in comments, braces of the shell, marks that are not closed, and raw ones."""
    text = """
# A comment may hold {% raw %} and {{ nobody }}.
[vars]
name = "n"
[[step]]
run = 'echo ${#v} ${v%c} {ok} {{ name }} {% raw %}{{.Names}}{% endraw %}'
[[step]]
run = "{% if name %}yes{% endif %}"
[[step]]
run = "printf '{%s}'"
"""
    assert [step.action.run for step in project.one(text).steps] == [
        "echo ${#v} ${v%c} {ok} n {{.Names}}",
        "yes",
        "printf '{%s}'",
    ]


def test_a_value_that_is_one_template_keeps_its_type(project: Any) -> None:
    """Numbers, booleans and lists stay what they are where the key wants them; where it wants text, text."""
    text = """
[vars]
code = 3
yes = true
argv = ["echo", "hi"]
deep = { cpu = 0.5, table = { times = 2 } }
word = "3"
[matrix]
other = [4]
[service.db]
image = "x"
fresh = "{{ yes }}"
depends_on = []
ports = ["{{ code }}"]
limits = { cpu = "{{ deep.cpu }}", memory = "{{ vars.code }}0m" }
[[step]]
run = "{{ code }}"
retry = "{{ deep.table }}"
expect = { exit = "{{ matrix.other }}", stdout = { contains = "{{ code }}" } }
[[step]]
run = ["x"]
env = { CODE = "{{ code }}" }
expect = { exit = { one_of = ["{{ code }}", 0] } }
"""
    (scenario,) = project.load(text)
    (service,) = scenario.services
    assert (service.fresh, service.ports, service.limits.cpus) == (True, (3,), 0.5)
    first, second = scenario.steps
    assert (first.action.run, first.retry.times, first.expect.exit_in) == ("3", 2, (4,))
    assert first.expect.stdout.contains == ("3",)
    assert (second.env, second.expect.exit_in) == ({"CODE": "3"}, (3, 0))
    of_text = '[vars]\nword = "3"\n[[step]]\nrun = "a"\nexpect = { exit = "{{ word }}" }\n'
    (mistake,) = project.refuse(of_text)
    assert 'expected a whole number or a table, found "3"' in mistake
