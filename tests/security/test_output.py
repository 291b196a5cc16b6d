"""A workload writes what a terminal, or a CI service that reads the log, obeys; or a secret, disguised."""

from __future__ import annotations

import re

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

SAID = (
    r"\033[2J\033]0;title\007 \302\233 \342\200\256 \r::add-mask::a\n::set-output name=a::b\n"
    r"  ::stop-commands::x\n##[add-mask]c\n"
)
FILE = f"""
[[step]]
name = "speaks"
run = '''printf '{SAID}'; printf '{SAID}' >&2; exit 3'''
continue_on_failure = true
[[step]]
name = "is judged"
run = '''printf '{SAID}' '''
expect = {{ stdout = {{ contains = "nothing", equals = "nothing\\n" }} }}
continue_on_failure = true
[[step]]
name = "captures"
run = '''printf '{SAID}' '''
capture = {{ said = {{ regex = '(?s)(.*)' }} }}
[[step]]
name = "uses"
run = "exit 4 # {{{{ said }}}}"
"""


def obeyed(printed: bytes) -> list[str]:
    """Return the lines that a terminal or a CI service would obey."""
    text = printed.decode("utf-8", "replace")
    control = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
    lines = text.split("\n")
    return [line for line in lines if control.search(line) or line.lstrip().startswith("::") or "##[" in line]


@pytest.mark.parametrize("options", [["-rA"], ["-s", "--clnrm-show-workers"]])
def test_output_commands_nobody(project: EndToEnd, options: list[str]) -> None:
    """Neither failures and sections nor live output hold control characters or commands."""
    project.environment["GITHUB_ACTIONS"] = "true"
    project.write("a.clnrm.toml", FILE)
    run = project.run(*options)
    assert run.outcomes() == {"a": "failed"}
    printed = (project.path / "printed").read_bytes()
    assert b"set-output" in printed
    assert obeyed(printed) == [], f"OBEYED\n{obeyed(printed)}"


def test_paths_and_mistakes_command_nobody(project: EndToEnd) -> None:
    """Nor do the paths of files, their source lines, and what is said of them."""
    project.environment["GITHUB_ACTIONS"] = "true"
    project.write("a\x1b[2J\r::set-output name=a::b.clnrm.toml", FILE)
    project.write("::group::x/a.clnrm.toml", FILE)
    project.write(
        "b.clnrm.toml", '[[step]]\nrun = "true" # \u202e\x9b\nnmae = "##[add-mask]x"\n"\u202ekey" = 1\n'
    )
    project.write(
        "c.clnrm.toml", '[meta]\nname = "##[add-mask]x"\ntags = ["\u2066"]\n[[step]]\nrun = "true"\n'
    )
    run = project.run("-v")
    printed = (project.path / "printed").read_bytes()
    assert obeyed(printed) == [], f"OBEYED\n{obeyed(printed)}"
    assert run.text.count("rename the file or its folder") == 2, run.text


def test_disguised_secret(project: EndToEnd) -> None:
    """A secret is masked however the workload writes it."""
    project.write(
        "a.clnrm.toml",
        """
        [vars]
        pw = { value = "hunter2/of the house", secret = true }
        [[step]]
        env = { PW = "{{ pw }}" }
        run = '''
        printf 'as "%s"\\n' "$PW" | sed 's#/#\\\\/#g'
        printf %s "$PW" | base64 -w 10
        printf %s "$PW" | xxd -p -c 6
        printf %s "$PW" | sed 's#/#%2f#g; s/ /+/g'
        printf %s "$PW" | sed 's#h#\\\\u0068#g'
        exit 1
        '''
        """,
    )
    run = project.run("-rA")
    assert run.outcomes() == {"a": "failed"}
    forms = ("hunter2", "aHVudGVyMi", "68756e746572", "unter2")
    found = [form for form in forms if form in run.text.replace('hunter2/of the house", secret', "")]
    assert found == [], f"SHOWN\n{run.text}"
    assert run.text.count("***") >= 5
