"""Steps on a real engine: what a command gets, what its output becomes, and when it is run again."""

from __future__ import annotations

import json
import re

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

SEVERAL_LINES = "línea\nñ 漢字 🎉"
ODD = ["it's", 'say "hi"', "two  spaces", "", "$HOME `id` *", SEVERAL_LINES, "-n", "a|b;c&&d", "back\\slash"]


def toml(value: object) -> str:
    """Return a text or a list of texts as TOML."""
    return json.dumps(value, ensure_ascii=False)


def test_a_command_gets_exactly_what_the_file_says(project: EndToEnd) -> None:
    """Arguments, environment, folder, user and standard input arrive unchanged, of service and of step."""
    shown = "".join(f"<{each}>" for each in ODD)
    seen = f"service|step|{SEVERAL_LINES}|nobody\n/bin"
    project.write(
        "exact.clnrm.toml",
        f"""
        [service.box]
        image = "x"
        user = "nobody"
        workdir = "/bin"
        env = {{ FROM_SERVICE = "service", BOTH = "service" }}
        [[step]]
        name = "argv"
        run = {toml(["printf", "<%s>", *ODD])}
        expect = {{ stdout = {{ equals = {toml(shown)} }} }}
        [[step]]
        name = "shell"
        run = '''printf '%s|' "$FROM_SERVICE" "$BOTH" "$ODD"; id -un; pwd'''
        env = {{ BOTH = "step", ODD = {toml(SEVERAL_LINES)} }}
        expect = {{ stdout = {{ equals = {toml(seen)} }} }}
        [[step]]
        name = "of the step"
        user = "root"
        workdir = "/etc"
        run = "id -un; pwd"
        expect = {{ stdout = {{ equals = "root\\n/etc" }} }}
        [[step]]
        name = "stdin"
        stdin = {toml("".join(ODD))}
        run = ["cat"]
        expect = {{ stdout = {{ equals = {toml("".join(ODD))} }} }}
        [[step]]
        name = "no stdin"
        run = ["cat"]
        expect = {{ stdout = {{ equals = "" }} }}
        [[step]]
        name = "shell syntax"
        run = '''
        # a comment, and it's quoted
        if true; then echo it\\'s; fi
        exit 3'''
        expect = {{ exit = 3, stdout = {{ equals = "it's" }} }}
        """,
    )
    project.write(
        "wild.clnrm.toml",
        """
        [test.metadata]
        name = "wild"
        [services.box]
        type = "generic_container"
        image = "x"
        environment = ["LISTED=a=b c", "EMPTY="]
        [[steps]]
        name = "env list"
        command = "echo \\"$LISTED\\" \\"${EMPTY-unset}.\\""
        expected_output_regex = "^a=b c \\\\."
        """,
    )
    run = project.run()
    assert run.outcomes() == {"exact": "passed", "wild": "passed"}, run.text


def test_retries_captures_and_json(project: EndToEnd) -> None:
    """A step is run again until it succeeds; captured values reach later steps; JSON is compared as such."""
    project.write(
        "flow.clnrm.toml",
        """
        [[step]]
        name = "third time"
        run = "echo x >> /tmp/tries; test $(wc -l < /tmp/tries) -ge 3"
        retry = { times = 5, delay = "10ms" }
        [[step]]
        name = "in vain"
        run = "exit 4"
        retry = { times = 2 }
        continue_on_failure = true
        [[step]]
        name = "make"
        run = '''echo '{"id": "it'"'"'s 42", "more": [1, {"a": null}]}'; echo token=abc >&2'''
        expect = { stdout = { json = { more = [1, { }] } } }
        capture = { id = { json = "/id" }, token = { regex = "token=(\\\\w+)", from = "stderr" } }
        [[step]]
        name = "use"
        run = ["printf", "%s", "{{ id }} {{ token }}"]
        expect = { stdout = { equals = "{{ id }} abc" } }
        """,
    )
    run = project.run()
    (failure,) = run.failures("flow")
    assert re.fullmatch(r"exit code 4, expected 0 \(after 3 attempts over \d+\.\d s\)", failure), run.text
    steps = run.steps("flow")
    assert [each["attempts"] for each in steps.values()] == [3, 3, 1, 1]
    assert steps["use"]["stdout"] == "it's 42 abc"


def test_output_of_any_size_and_kind(project: EndToEnd) -> None:
    """100 MB are cut with a note and not held in memory; both streams, and bytes that are no text, arrive."""
    project.path.joinpath("conftest.py").write_text(
        "import pathlib, resource\n"
        "def pytest_sessionfinish(session):\n"
        "    kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    with pathlib.Path('rss').open('a') as file:\n"
        "        file.write(f'{kb}\\n')\n"
    )
    project.write("small.clnrm.toml", '[[step]]\nname = "a"\nrun = "echo small"\n')
    small = project.run()
    assert small.outcomes() == {"small": "passed"}, small.text
    (project.path / "rss").unlink()
    (project.folder / "small.clnrm.toml").unlink()
    project.write(
        "big.clnrm.toml",
        """
        [[step]]
        name = "out"
        run = "head -c 100000000 /dev/zero | tr '\\\\0' x; echo; echo the end"
        expect = { stdout = { contains = "the end" } }
        [[step]]
        name = "both"
        run = "for i in 1 2; do echo out $i; echo err $i >&2; done"
        expect = { stdout = { equals = "out 1\\nout 2" }, stderr = { equals = "err 1\\nerr 2" } }
        [[step]]
        name = "binary"
        run = "printf 'a\\\\377\\\\376\\\\000b'; head -c 100000 /dev/urandom; echo; echo the end"
        expect = { stdout = { contains = "the end" } }
        [[step]]
        name = "unproven"
        run = "head -c 100000000 /dev/zero"
        expect = { stdout = { not_contains = "secret" } }
        """,
    )
    run = project.run()
    steps = run.steps("big")
    assert [each["outcome"] for each in steps.values()] == ["passed", "passed", "passed", "failed"], run.text
    assert "left out" in steps["out"]["stdout"][:100]
    assert steps["out"]["stdout"].endswith("the end\n")
    assert len(steps["out"]["stdout"]) < 100_000
    assert steps["binary"]["stdout"].endswith("the end\n")
    assert "cannot be judged: its first" in run.failures("big")[0]
    # Far less than the 200 MB that were printed.
    assert run.max_rss_kb - small.max_rss_kb < 60_000


def test_output_streams_with_s(project: EndToEnd) -> None:
    """With ``-s`` output is shown as it comes, with characters that arrive in two pieces put together."""
    project.write(
        "stream.clnrm.toml",
        """
        [[step]]
        name = "speak"
        run = "printf 'caf\\\\303'; sleep 0.3; printf '\\\\251 ole\\\\n'; sleep 0.3; echo aside >&2"
        """,
    )
    run = project.run("-s")
    assert run.outcomes() == {"stream": "passed"}, run.text
    assert "café ole\n" in run.text
    assert "aside\n" in run.text
