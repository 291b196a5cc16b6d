"""The keys that say which scenarios run: what they become, and their mistakes."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.model.selection import KnownMarks, Mark, SkipIf, Xfail

STEP = '[[step]]\nrun = "true"\n'
TRUTH = "expected a template that gives true or false, found"
WHEN = "(write a template that compares, such as \"{{ matrix.database == 'mysql' }}\")"
NO_CONDITION = (
    "this is no condition; set at least one of env, missing_env, platform, engine, when "
    '(to skip it always, write skip = "reason")'
)
NO_ENGINE = '"dokcer" is not "docker", "kubernetes" or "podman" (did you mean "docker"?)'
REASON = "the reason must not be empty or hold control characters"


def test_a_scenarios_own_keys_win_over_its_files(project: Any) -> None:
    """[meta] holds for all; a reason of a scenario is its own, and conditions of both count."""
    both = '[[scenario]]\nname = "a"\n[[scenario.step]]\nrun = "true"\n[[scenario]]\nname = "b"\n'
    own = 'skip = "own"\nxfail = { reason = "own", strict = false, errors = true }\nskip_if = { env = "B" }\n'
    text = '[meta]\nskip = "all"\nxfail = "all"\nskip_if = [{ platform = "darwin", reason = "why" }]\n'
    first, second = project.load(f'{text}{both}{own}[[scenario.step]]\nrun = "true"\n')
    mac = SkipIf(platform=("darwin",), reason="why")
    assert (first.selection.skip, first.selection.skip_if) == ("all", (mac,))
    assert first.selection.xfail == Xfail(reason="all", strict=True, errors=False)
    assert (second.selection.skip, second.selection.skip_if) == ("own", (mac, SkipIf(env=("B",))))
    assert second.selection.xfail == Xfail(reason="own", strict=False, errors=True)


@pytest.mark.parametrize(
    ("written", "conditions"),
    [
        ("true", [SkipIf(when=True)]),
        ("\"{{ matrix.n == '2' }}\"", [SkipIf(when=False), SkipIf(when=True)]),
        ('"{{ matrix.flag }}"', [SkipIf(when=True)]),
        ('{ when = "{{ 1 < 2 }}", env = ["A", "B"] }', [SkipIf(when=True, env=("A", "B"))]),
        (
            '{ missing_env = "T", engine = "podman", platform = ["linux", "win32"] }',
            [SkipIf(missing_env=("T",), engine=("podman",), platform=("linux", "win32"))],
        ),
    ],
)
def test_conditions(project: Any, written: str, conditions: list[SkipIf]) -> None:
    """They are written alone, or with others; templates know the combination of the matrix."""
    matrix = '[matrix]\nn = ["1", "2"]\nflag = [true]\n'
    loaded = project.load(f"[meta]\nskip_if = {written}\n{matrix}{STEP}")
    expected = conditions if len(conditions) == 2 else conditions * 2
    assert [each.selection.skip_if for each in loaded] == [(each,) for each in expected]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("skip = true", 'FILE:2:1: meta.skip: expected text, found true (write skip = "why")'),
        ("xfail = false", "FILE:2:1: meta.xfail: expected text or a table, found false (leave it out)"),
        ('skip = ""', "FILE:2:1: meta.skip: is empty"),
        ('skip = " "', f"FILE:2:1: meta.skip: {REASON}"),
        ('xfail = "a\\nb"', f"FILE:2:1: meta.xfail: {REASON}"),
        ('xfail = { reason = "\\t" }', f"FILE:2:11: meta.xfail.reason: {REASON}"),
        ("xfail = { strict = false }", 'FILE:2:1: meta.xfail: the key "reason" is missing'),
        (
            'xfail = { reason = "a", raises = "b" }',
            'FILE:2:25: meta.xfail.raises: unknown key "raises"; allowed here: reason, strict, errors',
        ),
        (
            "skip_if = {}",
            f"FILE:2:1: meta.skip_if: {NO_CONDITION}",
        ),
        (
            'skip_if = [{ env = "A" }, { reason = "b" }]',
            f"FILE:2:27: meta.skip_if[1]: {NO_CONDITION}",
        ),
        ("skip_if = []", "FILE:2:1: meta.skip_if: is empty: at least one entry is needed"),
        (
            "skip_if = { env = 'CI=1', reason = ' ' }",
            'FILE:2:13: meta.skip_if.env: "CI=1" is no name of an environment variable',
        ),
        (
            "skip_if = { missing_env = ['A', ' '] }",
            'FILE:2:33: meta.skip_if.missing_env[1]: " " is no name of an environment variable',
        ),
        (
            "skip_if = { platform = 'macos' }",
            'FILE:2:13: meta.skip_if.platform: "macos" is not "darwin", "linux" or "win32"',
        ),
        (
            "skip_if = { engine = ['dokcer'] }",
            f"FILE:2:23: meta.skip_if.engine[0]: {NO_ENGINE}",
        ),
        (
            "skip_if = \"sys.platform == 'x'\"",
            f"FILE:2:1: meta.skip_if: {TRUTH} \"sys.platform == 'x'\" {WHEN}",
        ),
        ('skip_if = { when = "{{ 1 + 1 }}" }', f'FILE:2:13: meta.skip_if.when: {TRUTH} "2" {WHEN}'),
    ],
)
def test_mistakes(project: Any, head: Any, written: str, message: str) -> None:
    """Each is told with its place, what is allowed, and what to write."""
    assert head(project.refuse(f"[meta]\n{written}\n{STEP}"))[0] == message


def test_what_a_step_captures_is_not_known_before_it_runs(project: Any, head: Any) -> None:
    """Which scenarios run is decided at collection."""
    text = f'[meta]\nskip_if = "{{{{ code }}}}"\n{STEP}capture = {{ code = {{ regex = "(.)" }} }}\n'
    assert 'FILE:2:1: meta.skip_if: names "code" where captured values are not known' in head(
        project.refuse(text)
    )


def test_of_a_scenario_they_are_told_at_its_own_place(project: Any, head: Any) -> None:
    """A key of one of several scenarios is found there; one at the top of the file belongs elsewhere."""
    text = '[[scenario]]\nname = "a"\nskip = " "\n[[scenario.step]]\nrun = "true"\n'
    assert head(project.refuse(text)) == [f"FILE:3:1: scenario[0].skip: {REASON}"]
    (told,) = head(project.refuse(f'skip = "why"\n{STEP}'))
    assert told.endswith("(it belongs to [meta])")


def test_a_wild_file_means_what_it_meant(project: Any) -> None:
    """In the older dialects these keys are claims that nobody checks, as any unknown one."""
    text = '[test.metadata]\nname = "a"\nskip = "x"\nxfail = "y"\n[[steps]]\nname = "s"\ncommand = ["true"]\n'
    loaded = project.one(text)
    assert (loaded.selection.skip, loaded.selection.xfail) == ("", None)
    assert [each.path for each in loaded.unchecked] == ["test.metadata.skip", "test.metadata.xfail"]


KNOWN = KnownMarks(
    project=frozenset({"slow", "ticket"}),
    taken=frozenset({"skip", "usefixtures", "flaky", "timeout", "order"}),
    plugins=frozenset({"flaky", "timeout", "order"}),
)


def test_marks_with_arguments(project: Any) -> None:
    """Text is a mark, a table one with one argument, several in a list, or keywords; a scenario's own win."""
    text = """
[meta]
marks = ["slow", "new", { timeout = "1.5m", order = 1 }]
flaky = 2
[[scenario]]
name = "a"
marks = [{ timeout = 5 }, { ticket = ["X", 1] }, { order = { after = "b", index = 0 } }]
flaky = 0
[[scenario.step]]
run = "true"
[[scenario]]
name = "b"
marks = [{ flaky = { reruns = 3, reruns_delay = "500ms" } }, { ticket = { id = "Y" } }]
[[scenario.step]]
run = "true"
"""
    first, second = project.load(text, marks=KNOWN)
    assert {each.name: (each.args, each.kwargs) for each in first.selection.marks} == {
        "slow": ((), {}),
        "new": ((), {}),
        "timeout": ((5,), {}),
        "order": ((), {"after": "b", "index": 0}),
        "ticket": (("X", 1), {}),
    }
    assert {each.name: (each.args, each.kwargs) for each in second.selection.marks} == {
        "slow": ((), {}),
        "new": ((), {}),
        "timeout": ((90.0,), {}),
        "order": ((1,), {}),
        "flaky": ((), {"reruns": 3, "reruns_delay": 0.5}),
        "ticket": ((), {"id": "Y"}),
    }


@pytest.mark.parametrize(
    ("shared", "own", "retries"),
    [("", "", None), ("retry = 2", "", 2), ("retry = 2", "retry = 0", 0), ("retry = 2", "flaky = 1", None)],
)
def test_retry(project: Any, shared: str, own: str, retries: int | None) -> None:
    """A scenario's own number wins over its file's, and so does its ``flaky``."""
    text = f"[meta]\n{shared}\n[[scenario]]\nname = 'a'\n{own}\n[[scenario.step]]\nrun = 'true'\n"
    assert project.one(text, marks=KNOWN).selection.retries == retries


def test_flaky_alone(project: Any) -> None:
    """It is the mark of pytest-rerunfailures."""
    loaded = project.one(f"[meta]\nflaky = 2\n{STEP}", marks=KNOWN)
    assert loaded.selection.marks == (Mark(name="flaky", kwargs={"reruns": 2}),)


NO_RERUNS = "it takes pytest-rerunfailures, which this run does not have (pip install pytest-rerunfailures)"
UNKNOWN = (
    "nobody knows a mark 'tikcet' with arguments: register it in the ini option markers "
    '(did you mean "ticket"?)'
)
PLACES = (
    '"eighth", "eighth_to_last", "fifth", "fifth_to_last", "first", "fourth", "fourth_to_last", "last", '
    '"second", "second_to_last", "seventh", "seventh_to_last", "sixth", "sixth_to_last", "third" or '
    '"third_to_last"'
)
NO_ORDER = f'"frist" is not {PLACES} (did you mean "first"?)'
NO_KEY = 'unknown key "befor"; allowed here: index, before, after (did you mean "before"?)'
NO_MARK = "is empty: a mark and its argument are needed (such as { timeout = 30 })"
MULTIPLIED = (
    "pytest-rerunfailures runs it again for that, and retry would multiply it (leave flaky or retry out)"
)
TAKEN = "is a mark of pytest or a plugin; of those a file may set: flaky, order, timeout"


@pytest.mark.parametrize(
    ("written", "known", "message"),
    [
        ("flaky = 1", KnownMarks(), f"FILE:2:1: meta.flaky: {NO_RERUNS}"),
        ("flaky = 101", KNOWN, "FILE:2:1: meta.flaky: 101 is out of range: from 0 to 100"),
        (
            "flaky = 1\nmarks = [{ flaky = 1 }]",
            KNOWN,
            "FILE:2:1: meta.flaky: it is among the marks, too (leave one of them out)",
        ),
        ('retry = "2"', KNOWN, 'FILE:2:1: meta.retry: expected a whole number, found "2" (write retry = 2)'),
        ("retry = 101", KNOWN, "FILE:2:1: meta.retry: 101 is out of range: from 0 to 100"),
        (
            "retry = 1\nflaky = 1",
            KNOWN,
            f"FILE:3:1: meta.flaky: {MULTIPLIED}",
        ),
        ("marks = [{ flaky = 1 }]", KnownMarks(), f"FILE:2:12: meta.marks[0].flaky: {NO_RERUNS}"),
        (
            "marks = ['timeout']",
            KnownMarks(),
            f"FILE:2:10: meta.marks[0]: {NO_RERUNS.replace('rerunfailures', 'timeout')}",
        ),
        (
            "marks = ['timeout']",
            KNOWN,
            'FILE:2:10: meta.marks[0]: the mark "timeout" takes an argument (such as { timeout = 1 })',
        ),
        ("marks = ['skip']", KNOWN, f'FILE:2:10: meta.marks[0]: "skip" {TAKEN} (write skip = "why")'),
        (
            "marks = [{ usefixtures = 'x' }]",
            KNOWN,
            f'FILE:2:12: meta.marks[0].usefixtures: "usefixtures" {TAKEN}',
        ),
        (
            "marks = [{ tikcet = 1 }]",
            KNOWN,
            f"FILE:2:12: meta.marks[0].tikcet: {UNKNOWN}",
        ),
        ("marks = ['_a']", KNOWN, 'FILE:2:10: meta.marks[0]: "_a" cannot be the name of a mark'),
        ("marks = ['a(b)']", KNOWN, 'FILE:2:10: meta.marks[0]: "a(b)" cannot be the name of a mark'),
        ("marks = ['a', 'a']", KNOWN, 'FILE:2:15: meta.marks[1]: the mark "a" is there twice'),
        (
            "marks = [{}]",
            KNOWN,
            f"FILE:2:10: meta.marks[0]: {NO_MARK}",
        ),
        ("marks = [{ timeout = 0 }]", KNOWN, "FILE:2:12: meta.marks[0].timeout: must be longer than 0"),
        (
            "marks = [{ order = 'frist' }]",
            KNOWN,
            f"FILE:2:12: meta.marks[0].order: {NO_ORDER}",
        ),
        (
            "marks = [{ order = { befor = 'x' } }]",
            KNOWN,
            f"FILE:2:22: meta.marks[0].order.befor: {NO_KEY}",
        ),
        (
            "marks = [{ order = {} }]",
            KNOWN,
            "FILE:2:12: meta.marks[0].order: is empty: index, before or after is needed",
        ),
        (
            "marks = [{ flaky = { reruns_delay = 1 } }]",
            KNOWN,
            'FILE:2:12: meta.marks[0].flaky: the key "reruns" is missing',
        ),
    ],
)
def test_mistakes_of_marks(project: Any, head: Any, written: str, known: KnownMarks, message: str) -> None:
    """A mark that would do nothing, or something else, is a mistake."""
    assert head(project.refuse(f"[meta]\n{written}\n{STEP}", marks=known))[0] == message


def test_groups(project: Any, head: Any) -> None:
    """A scenario's own replace its file's; their names are short."""
    text = """
[meta]
group = ["database", "licence", "database"]
exclusive = true
[[scenario]]
name = "a"
[[scenario.step]]
run = "true"
[[scenario]]
name = "b"
group = "other"
exclusive = false
[[scenario.step]]
run = "true"
"""
    first, second = project.load(text)
    assert (first.selection.groups, first.selection.exclusive) == (("database", "licence"), True)
    assert (second.selection.groups, second.selection.exclusive) == (("other",), False)
    allowed = "up to 63 letters, digits, '_', '.' and '-', a letter or digit first"
    assert head(project.refuse(f"[meta]\ngroup = ['a', 'b c']\n{STEP}")) == [
        f'FILE:2:15: meta.group[1]: "b c" is not allowed: {allowed}'
    ]
    assert head(project.refuse(f"[meta]\nexclusive = 1\n{STEP}")) == [
        "FILE:2:1: meta.exclusive: expected true or false, found 1"
    ]
