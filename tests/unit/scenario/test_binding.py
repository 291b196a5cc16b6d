"""Captured values in expectations about spans."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pytest_clnrm.model.check import LogCheck
from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.step import Command, Step
from pytest_clnrm.model.text import Redaction
from pytest_clnrm.scenario.templates.binding import bind_expectations, bind_step
from pytest_clnrm.scenario.templates.confined import bind
from pytest_clnrm.scenario.templates.render import TemplateError

FILE = """
[vars]
host = "h1"
[[step]]
run = "make"
capture = { id = { regex = "id (.*)" } }
[[expect.span]]
select = { name = "GET /orders/{{ id }}", resource = { "host.name" = "{{ host }}" } }
attrs = { "order.id" = "{{ id }}", "url.full" = { regex = "^http.*/{{ id }}$" } }
events = { all = ["made {{ id }}"] }
[expect.graph]
must_include = [["GET /orders/{{ id }}", "SELECT *"]]
"""
ID = frozenset({"id"})


def test_values_are_put_in_when_the_steps_are_over(project: Any) -> None:
    """In names and patterns they stand for themselves, in other conditions they are compared as they are."""
    expect = project.one(FILE).expect
    assert expect.spans[0].select.name == "GET /orders/{{ id }}"
    assert expect.spans[0].select.resource["host.name"] == (Condition(op="eq", value="h1"),)
    bound = bind_expectations(expect, {"id": "7[1]", "host": "h1"}, ID)
    (span,) = bound.spans
    assert span.select.name == "GET /orders/7[[]1]"
    assert span.attrs["order.id"] == (Condition(op="eq", value="7[1]"),)
    assert span.attrs["url.full"] == (Condition(op="regex", value=r"^http.*/7\[1\]$"),)
    assert span.events_all == ("made 7[[]1]",)
    assert span.at == ("expect", "span", 0)
    assert bound.graph is not None
    assert bound.graph.must_include == (("GET /orders/7[[]1]", "SELECT *"),)
    assert bind_expectations(expect, {}, frozenset()) is expect


def test_what_cannot_be_put_in(project: Any) -> None:
    """A value that no step has captured is told."""
    expect = project.one(FILE).expect
    with pytest.raises(TemplateError, match="id"):
        bind_expectations(expect, {"host": "h1"}, ID)


STEP = """
[vars]
word = "[a-z]+"
[service.web]
image = "x"
ready = { port = 80 }
[[step]]
service = "web"
run = "make"
capture = { id = { regex = "id=(.*)" } }
[[step]]
service = "web"
run = "look"
"""


def bound(project: Any, more: str, value: str) -> Step:
    """Return the second step with what was captured put in."""
    scenario = project.one(STEP + more)
    values = {**scenario.variables, "id": value, "service": {"web": {"address": "10.0.0.5"}}}
    step: Step = bind(bind_step, scenario.steps[1], values, frozenset({"id", "service"}), wall_s=60)
    return step


MAIL = "a+b@x.org"
USE = 'use = "look"\nwith = { line = "^[a-z] {{ id }}" }\n'
PATTERNS = """
expect.stdout.regex = "^{{ word }} {{ id }}: .*"
expect.stdout.not_regex = [
    "{{ id | upper }}",
    "{{ service.web.address }}",
    "[{{ id }}]",
    "{% if id == 'a+b@x.org' %}{{ word }}{{ id }}{% endif %}",
]
expect.stdout.count = { regex = "{{ id }}$", eq = 0 }
expect.stdout.line = { 1 = { regex = "{{ id }}" } }
expect.stdout.file = "{{ id }}.txt"
expect.stdout.redact = [{ regex = "{{ id }}", with = "{{ id }}" }]
expect.stdout.contains = "{{ id }}"
expect.stdout.jsonpath."$.a" = { regex = "{{ id }}", starts_with = "{{ id }}" }
expect.stdout.jsonpath."$.b[*]" = { none = { regex = "{{ id }}" } }
[[step.check]]
log = "web"
content = { regex = "{{ id }}" }
count = [{ regex = "{{ id }}", gte = 1 }]
order = ["{{ word }}", "{{ id }}"]
"""


def test_a_captured_value_stands_for_itself_in_patterns(project: Any) -> None:
    """In each regular expression of a step, and whatever the template does; variables are patterns."""
    step = bound(project, PATTERNS, MAIL)
    text = step.expect.stdout
    assert text is not None
    itself = r"a\+b@x\.org"
    assert text.regex == (f"^[a-z]+ {itself}: .*",)
    assert text.not_regex == (r"A\+B@X\.ORG", r"10\.0\.0\.5", f"[{itself}]", f"[a-z]+{itself}")
    assert (text.count[0].regex, text.line[0].text.regex) == (f"{itself}$", (itself,))
    assert text.redact == (Redaction(regex=itself, replacement=MAIL),)
    # What is no pattern takes it as it is.
    assert (text.file, text.contains) == (f"{MAIL}.txt", (MAIL,))
    regex, starts = text.jsonpath[0].checks.tests
    assert (regex.value, starts.value) == (itself, MAIL)
    (none,) = text.jsonpath[1].checks.tests
    assert none.value.tests[0].value == itself
    (check,) = step.checks
    assert isinstance(check, LogCheck)
    assert check.content is not None
    assert (check.content.regex, check.count[0].regex, check.order) == ((itself,), itself, ("[a-z]+", itself))


@pytest.mark.parametrize(
    ("template", "pattern"),
    [
        ("{% for each in id.split('+') %}{{ each }}{{ loop.index }}{% endfor %}", r"a1b@x\.org2"),
        (
            "{% set part = id[3:] %}{% set twice = part ~ part %}{{ twice }}{{ word }}",
            r"@x\.org@x\.org[a-z]+",
        ),
        ("{% with part = id, own = '.*' %}{{ part }}{{ own }}{% endwith %}", r"a\+b@x\.org.*"),
        ("{% set part %}<{{ id }}>{% endset %}{{ part }}", r"<a\+b@x\.org>"),
        ("{{ '^' ~ id ~ '$' }}", r"^a\+b@x\.org$"),
        ("{{ id if id else word }}", r"a\+b@x\.org"),
        ("{{ word if id else id }}", "[a-z]+"),
        ("{{ id if id }}", r"a\+b@x\.org"),
        ("{% for each in [word] %}{{ each }}{{ id | length }}{% endfor %}", "[a-z]+9"),
        ("{{ '^' + id + '$' }}", r"^a\+b@x\.org$"),
        ("{{ id + word + '$' }}", r"a\+b@x\.org[a-z]+$"),
        ("{{ id[:1] + id[2:] }}", r"ab@x\.org"),
        ("{{ (id | length) / 2 }}", r"4\.5"),
        ("{{ id and word }}", "[a-z]+"),
        ("{{ word and id }}", r"a\+b@x\.org"),
        ("{{ id == 'x' or word }}", "[a-z]+"),
        ("{% set p = word if id else '.' %}{{ p }}", "[a-z]+"),
        ("{{ ('A+' if id else '.') | lower }}", "a+"),
        ("{{ '.+' | default(id) }}", ".+"),
        ("{{ id | default(value='x') | upper }}", r"A\+B@X\.ORG"),
    ],
)
def test_what_is_made_of_a_captured_value(project: Any, template: str, pattern: str) -> None:
    """It stands for itself too, in a loop or under another name; what variables gave stays a pattern."""
    text = bound(project, f'expect.stdout.not_regex = "{template}"', MAIL).expect.stdout
    assert text is not None
    assert text.not_regex == (pattern,)


OPTIONAL = [
    "{{ id or '[0-9]+' }}",
    "{{ id | default('[0-9]+', true) }}",
    "{{ id | d(boolean=true, value='[0-9]+') }}",
    "{{ id if id else '[0-9]+' }}",
    "{{ '' + (id or '[0-9]+') }}",
    "{% set p %}{{ id or '[0-9]+' }}{% endset %}{{ p }}",
    "{% if id %}{{ id }}{% else %}[0-9]+{% endif %}",
]


@pytest.mark.parametrize("template", OPTIONAL)
@pytest.mark.parametrize(("value", "pattern"), [("", "^[0-9]+$"), ("1.2", r"^1\.2$")])
def test_a_pattern_in_place_of_an_empty_value(project: Any, template: str, value: str, pattern: str) -> None:
    """What the file's author has written for it is a pattern, as it is elsewhere."""
    text = bound(project, f'expect.stdout.regex = "^{template}$"', value).expect.stdout
    assert text is not None
    assert text.regex == (pattern,)


@pytest.mark.parametrize("template", OPTIONAL)
def test_a_pattern_in_place_of_no_value(project: Any, template: str) -> None:
    """What is not there is told, but where a default is named for it."""
    scenario = project.one(STEP + f'expect.stdout.regex = "^{template}$"')
    if "| d" in template:
        text = bind_step(scenario.steps[1], {}, ID).expect.stdout
        assert text is not None
        assert text.regex == ("^[0-9]+$",)
    else:
        with pytest.raises(TemplateError, match="'id' is not defined"):
            bind_step(scenario.steps[1], {}, ID)


def test_arguments_of_blocks_are_patterns(project: Any) -> None:
    """As their author wrote them, with captured values in them that stand for themselves."""
    block = """
[steps.look]
args = ["line"]
[[steps.look.step]]
service = "web"
run = "look"
expect.stdout.regex = ["{{ args.line }}", "{{ args.line ~ '$' }}"]
"""
    scenario = project.one(STEP.replace('service = "web"\nrun = "look"\n', USE) + block)
    text = bind_step(scenario.steps[1], {"id": MAIL}, ID).expect.stdout
    assert text is not None
    assert text.regex == (r"^[a-z] a\+b@x\.org", r"^[a-z] a\+b@x\.org$")


def test_macros_cannot_stand_in_such_a_pattern(project: Any) -> None:
    """Whether they are given a pattern or a text is not told apart."""
    macro = "{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(id) }}"
    with pytest.raises(TemplateError, match="a macro cannot stand in a pattern that names a captured value"):
        bound(project, f'expect.stdout.regex = "{macro}"', MAIL)
    text = bound(project, f'expect.stdout.contains = "{macro}"', MAIL).expect.stdout
    assert text is not None
    assert text.contains == (f"<{MAIL}>",)


REMEDY = r"capture what is not blank, as regex = 'id=(\S+)' does"
EMPTY = f"is empty with what was captured, which it must not be; {REMEDY}"
ALL = f"matches every text with what was captured, so it says nothing; {REMEDY}"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("expect.stdout.contains = '{{ id }}'", f"contains = '{{{{ id }}}}' {EMPTY}"),
        ("expect.stdout.not_contains = ['x', '{{ id }}']", EMPTY),
        ("expect.stderr.starts_with = '{{ id }}'", EMPTY),
        ("expect.stderr.ends_with = '{% if id %}x{% endif %}'", EMPTY),
        ("expect.stdout.regex = '{{ id }}'", EMPTY),
        ("expect.stdout.not_regex = '{{ id }}'", EMPTY),
        ("expect.stdout.regex = '(?m)^{{ id }}'", f"regex = '(?m)^{{{{ id }}}}' {ALL}"),
        ("expect.stdout.count = { regex = '{{ id }}.*', gte = 1 }", ALL),
        ("expect.stdout.line = { 1 = { contains = '{{ id }}' } }", EMPTY),
        (
            "expect.stdout.jsonpath = { '$.a' = { contains = '{{ id }}' } }",
            f"contains = '{{{{ id }}}}' {EMPTY}",
        ),
        ("expect.stdout.jsonpath = { '$.a' = { regex = '{{ id }}$' } }", ALL),
        ("expect.stdout.jsonpath = { '$.a[*]' = { each = { starts_with = '{{ id }}' } } }", EMPTY),
        ("check = [{ log = 'web', order = ['x', '{{ id }}'] }]", EMPTY),
        ("check = [{ file = '/a', owner = '{{ id }}' }]", EMPTY),
        ("check = [{ process = '{{ id }}', running = false }]", EMPTY),
        ("check = [{ port = 80, process = '{{ id }}' }]", EMPTY),
        ("check = [{ package = '{{ id }}', installed = false }]", EMPTY),
        ("check = [{ user = '{{ id }}', exists = false }]", EMPTY),
        ("user = '{{ id }}'", EMPTY),
        ("workdir = '{{ id }}'", EMPTY),
    ],
)
def test_what_an_empty_value_makes_say_nothing(project: Any, more: str, message: str) -> None:
    """As in a file: a check that holds of everything, and a name that is none."""
    assert bound(project, more, "7")
    with pytest.raises(TemplateError) as caught:
        bound(project, more, "")
    assert message in str(caught.value)
    assert caught.value.path[:2] == ("step", 1)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("^{{ id | trim }}", " "),
        ("^{{ id[1:] }}", "a"),
        ("^{{ id[3:] }}", "abc"),
        ("(?s)^.*{{ id | default('.*') }}?", "a"),
        ("^{% if id %}{{ id }}{% endif %}", ""),
        ("^{% if id | trim %}{{ id }}{% endif %}", " "),
        ("^{% for each in id %}{{ each }}{% endfor %}", ""),
        ("^(a|{{ id }})", ""),
        ("^.{0,{{ id }}}", ""),
        ("[{{ id }}-9]*", ""),
        ("^{{ id }}{{ 1 // (2 - id | length) }}?", ""),
    ],
)
def test_what_is_made_of_a_value_is_empty(project: Any, pattern: str, value: str) -> None:
    """Whether a pattern says something hangs on what is left of the value."""
    with pytest.raises(TemplateError, match=re.escape(ALL)):
        bound(project, f'expect.stdout.regex = "{pattern}"', value)


HAS_NONE = "^(?!.*{{ id }})"


@pytest.mark.parametrize(
    ("more", "value"),
    [
        (f'expect.stdout.regex = "{HAS_NONE}"', "abc"),
        (f'expect.stdout.regex = "{HAS_NONE}"', "7"),
        (f'expect.stdout.regex = "{HAS_NONE}"', " "),
        (f'expect.stdout.not_regex = "{HAS_NONE}"', "abc"),
        (f'expect.stdout.count = [{{ regex = "{HAS_NONE}", eq = 0 }}]', "abc"),
        (f'expect.stdout.jsonpath = {{ "$.a" = {{ regex = "{HAS_NONE}" }} }}', "abc"),
        (r"expect.stdout.regex = '\A[^{{ id }}]*\Z'", ","),
        (r"expect.stdout.regex = '\A[^,{{ id }}]*\Z'", ""),
        ("expect.stdout.regex = '^(?!.*x{{ id }})'", ""),
        ("expect.stdout.regex = '^.{0,{{ id }}}$'", "80"),
        ("expect.stdout.regex = '^.{0,{{ id }}}$'", "8"),
        ("expect.stdout.regex = '^(id={{ id }})?'", "7"),
    ],
)
def test_a_pattern_that_short_texts_match_by_its_authors_will(project: Any, more: str, value: str) -> None:
    """Such as one that says what a text lacks: what was put in takes nothing from it."""
    assert bound(project, more, value).expect.stdout is not None


@pytest.mark.parametrize(
    "more",
    [f'not_regex = "{HAS_NONE}"', f'count = [{{ regex = "{HAS_NONE}", eq = 0 }}]'],
)
def test_a_pattern_that_an_empty_value_makes_match_nothing(project: Any, more: str) -> None:
    """A check that it is not found would hold of every text."""
    why = f"matches no text with what was captured, so it says nothing; {REMEDY}"
    with pytest.raises(TemplateError, match=re.escape(why)):
        bound(project, f"expect.stdout.{more}", "")


AT = ("step", 1)
REQUEST = '[[step]]\nhttp = { url = "http://web/", method = "POST", '


@pytest.mark.parametrize(
    ("more", "key", "path"),
    [
        ("expect.stdout.regex = ['a', '{{ id }}']", "regex", (*AT, "expect", "stdout", "regex", 1)),
        (
            "expect.stdout.jsonpath = { '$.a' = { contains = '{{ id }}' } }",
            "contains",
            (*AT, "expect", "stdout", "jsonpath", "$.a", "contains"),
        ),
        ("check = [{ file = '{{ id }}' }]", "file", (*AT, "check", 0, "file")),
        (REQUEST + "auth = { bearer = '{{ id }}' } }", "bearer", ("step", 2, "http", "auth", "bearer")),
        (
            REQUEST + "multipart = { a = { file = 'x.txt', type = '{{ id }}' } } }",
            "type",
            ("step", 2, "http", "multipart", "a", "type"),
        ),
    ],
)
def test_where_an_empty_value_is_told(project: Any, more: str, key: str, path: KeyPath) -> None:
    """At the key under which the file has it."""
    project.write("x", "x.txt")
    last = project.one(STEP + more).steps[-1]
    with pytest.raises(TemplateError) as caught:
        bind_step(last, {"id": ""}, ID)
    assert str(caught.value) == f"{key} = '{{{{ id }}}}' {EMPTY}"
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("more", "path"),
    [
        (REQUEST + "auth = { basic = ['ada', '{{ id.x }}'] } }", ("step", 2, "http", "auth", "basic", 1)),
        (
            REQUEST + "multipart = { a = { value = '{{ id.x }}' } } }",
            ("step", 2, "http", "multipart", "a", "value"),
        ),
        (
            "expect.stdout = { file = 'x.txt', redact = [{ regex = 'x', with = '{{ id.x }}' }] }",
            (*AT, "expect", "stdout", "redact", 0, "with"),
        ),
        (
            "expect.stdout.jsonpath = { '$.a' = '{{ id.x }}' }",
            (*AT, "expect", "stdout", "jsonpath", "$.a"),
        ),
    ],
)
def test_where_what_is_not_there_is_told(project: Any, more: str, path: KeyPath) -> None:
    """At the key under which the file has it."""
    project.write("x", "x.txt")
    last = project.one(STEP + more).steps[-1]
    with pytest.raises(TemplateError) as caught:
        bind_step(last, {"id": "7"}, ID)
    assert caught.value.path[: len(path)] == path


def test_where_what_is_not_there_is_told_of_spans(project: Any) -> None:
    """At the key under which the file has it."""
    expect = project.one(FILE.replace("made {{ id }}", "made {{ id.x }}")).expect
    with pytest.raises(TemplateError) as caught:
        bind_expectations(expect, {"id": "7", "host": "h1"}, ID)
    assert caught.value.path == ("expect", "span", 0, "events", "all", 0)


def test_where_an_empty_value_says_something(project: Any) -> None:
    """What is compared as a whole, what a program or server is given, and a part of what says more."""
    more = """
    env = { A = "{{ id }}" }
    stdin = "{{ id }}"
    expect.stdout.equals = "{{ id }}"
    expect.stdout.line = { 1 = "{{ id }}" }
    expect.stdout.contains = "<{{ id }}>"
    expect.stdout.regex = ["^{{ id }}$", "x{{ id }}"]
    expect.stdout.json = { a = "{{ id }}" }
    expect.stdout.jsonpath = { "$.a" = "{{ id }}", "$.b" = { as_text = "{{ id }}" } }
    expect.stderr.jsonpath = { "$.c" = { contains = { a = "{{ id }}" } } }
    expect.stdout.redact = [{ regex = "x", with = "{{ id }}" }]
    expect.stdout.file = "x.txt"
    check = [{ file = "/a", target = "{{ id }}" }, { user = "app", home = "{{ id }}" }]
    """
    text = bound(project, more, "").expect.stdout
    assert text is not None
    assert (text.equals, text.contains, text.regex) == ("", ("<>",), ("^$", "x"))
    request = bound(
        project,
        '[[step]]\nhttp = { url = "http://web/{{ id }}", body = "{{ id }}", headers = { A = "{{ id }}" } }',
        "",
    )
    assert request.name == "step 2"


@pytest.mark.parametrize(
    "more",
    [
        "user = '{{ id }}'",
        "env = { A = '{{ id }}' }",
        "check = [{ file = '/{{ id }}', exists = false }]",
        "check = [{ process = '{{ id }}', running = false }]",
        "check = [{ user = '{{ id }}', exists = false }]",
        "check = [{ package = '{{ id }}', installed = false }]",
    ],
)
def test_what_no_program_can_be_given(project: Any, more: str) -> None:
    """Nothing has such a name, and a command would fail in the words of an engine."""
    with pytest.raises(TemplateError, match=r"holds a NUL character with what was captured, which cannot be"):
        bound(project, more, "a\0b")


def test_a_nul_in_a_text(project: Any) -> None:
    """A program may read and print it."""
    more = "stdin = '{{ id }}'\nexpect.stdout.contains = '{{ id }}'"
    action = bound(project, more, "a\0b").action
    assert isinstance(action, Command)
    assert action.stdin == "a\0b"


def test_a_pattern_that_a_value_breaks(project: Any) -> None:
    """It is told with the value in it, before the step runs."""
    with pytest.raises(
        TemplateError, match=r"with the captured value, '\[z-a\]' is no regular expression: bad"
    ):
        bound(project, "expect.stdout.regex = '[{{ id }}-a]'", "z")


def test_braces_beside_captured_values(project: Any) -> None:
    """A string that names none of them is as the file has it, though it looks like a template."""
    more = "env = { A = '{% raw %}{{ .Names }}{% endraw %}', B = '{{ id }}' }"
    assert bound(project, more, "7").env == {"A": "{{ .Names }}", "B": "7"}


def test_empty_values_in_expectations_about_spans(project: Any) -> None:
    """A part that is in every text, and a pattern that matches all of them."""
    for test, why in (
        ('contains = "{{ id }}"', EMPTY),
        ('regex = "^{{ id }}"', ALL),
        ('regex = "{{ id }}"', EMPTY),
    ):
        expect = project.one(FILE.replace('regex = "^http.*/{{ id }}$"', test)).expect
        with pytest.raises(TemplateError) as caught:
            bind_expectations(expect, {"id": "", "host": "h1"}, ID)
        assert why in str(caught.value)
    lacking = project.one(FILE.replace("^http.*/{{ id }}$", HAS_NONE)).expect
    (span,) = bind_expectations(lacking, {"id": "abc", "host": "h1"}, ID).spans
    assert span.attrs["url.full"] == (Condition(op="regex", value="^(?!.*abc)"),)
    made = project.one(FILE.replace('"GET /orders/{{ id }}"', '"{{ id }}"')).expect
    with pytest.raises(TemplateError, match="is empty"):
        bind_expectations(made, {"id": "", "host": "h1"}, ID)


SCENARIOS = """
[[scenario]]
name = "a"
[[scenario.step]]
run = "true"
capture = { id = { regex = "." } }
[[scenario]]
name = "b"
[[scenario.step]]
run = "true"
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            SCENARIOS + '[[scenario.expect.span]]\nselect = "{{ id }}"\n',
            'scenario[1].expect.span[0].select: names "id" which no step captures',
        ),
        (SCENARIOS + '[[expect.span]]\nselect = "{{ id }}"\n', ""),
    ],
)
def test_names_that_no_step_captures(project: Any, text: str, message: str) -> None:
    """A scenario's own expectations name what its own steps capture; the file's, what any of them does."""
    found = [each.partition("\n")[0].partition(": ")[2] for each in project.refuse(text)] if message else []
    assert found == ([message] if message else [])
    if not message:
        assert [each.name for each in project.load(text)] == ["a", "b"]
