"""Broken scenario files by the hundred in one run: each is an error of its own, good files still run."""

from __future__ import annotations

import random
from collections.abc import Callable

from clnrm_testing.project import Project

FILES = 300
GOOD = 20
SEED = 20240229

WHOLE = """\
[meta]
name = "orders"
tags = ["a", "b"]
priority = "high"
timeout = "90s"

[vars]
region = "eu"

[limits]
memory = "256m"
cpu = 0.5

[service.db]
image = "service:1"
command = ["serve", "-c", "fast"]
env = { REGION = "{{ region }}" }
ports = [5432]
ready = { log = "ready (to|for)", timeout = "30s" }

[service.client]
image = "shell:1"
depends_on = ["db"]

[[step]]
name = "ask"
service = "client"
run = ["echo", "it is 42"]
expect = { exit = 0, stdout = { contains = "42", regex = ["\\\\d+"] } }
capture = { answer = { regex = "(\\\\d+)" } }

[[step]]
name = "tell"
service = "client"
run = "echo {{ answer }}"
"""

# Each breaks a file for certain, wherever at the start of a line it is put.
CERTAIN = (
    "= 1\n",
    "name = \n",
    "[unclosed\n",
    "[[step]\n",
    'x = "no end\n',
    "{{ undefined_name }} = 1\n",
    "[nonsense]\nkey = 1\n",
    "[service.db]\nimage = 1\n",
    "[meta]\nname = 'again'\n",
    "key = 1979-99-99\n",
    "\u0000",
    "[[[deep]]]\n",
    "{% if %}\n",
    "[service.new]\nimage = ['a']\ndepends_on = ['new', 'gone']\n",
)
SCRAPS = (
    '"',
    "'''",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    "\\",
    "#",
    "{{",
    "}}",
    "{%",
    "\r",
    "\ufeff",
    "é",
    "🎉",
    "::",
)


def broken(rng: random.Random) -> bytes:
    """Return a scenario file with one certain mistake, and random damage around it."""
    lines = WHOLE.splitlines(keepends=True)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(lines))
        action = rng.randrange(4)
        if action == 0:
            del lines[at]
        elif action == 1:
            lines.insert(at, rng.choice(lines))
        elif action == 2:
            column = rng.randrange(len(lines[at]))
            lines[at] = lines[at][:column] + rng.choice(SCRAPS) + lines[at][column:]
        else:
            lines[at] = lines[at][: rng.randrange(len(lines[at]))] + "\n"
    # At the very start no damage before it can make it part of a text or a comment.
    text = rng.choice(CERTAIN) + "".join(lines)
    data = text.encode()
    return data + b"\xff\xfe" if rng.random() < 0.1 else data


def test_each_broken_file_is_an_error_of_its_own(make_project: Callable[[str], Project]) -> None:
    """Of 300 broken files each is one error in words, and the good files beside them run, under ``-n 2``."""
    project = make_project("n2")
    rng = random.Random(SEED)  # noqa: S311 -- not for secrets
    for number in range(FILES):
        path = project.write(f"broken{number:03}.clnrm.toml", "")
        path.write_bytes(broken(rng))
    for number in range(GOOD):
        project.write(
            f"good{number:02}.clnrm.toml",
            f'[meta]\nname = "good{number}"\n[[step]]\nname = "a"\nrun = "echo fine"\n',
        )
    result = project.run("-rE")
    text = result.stdout.str() + result.stderr.str()
    result.assert_outcomes(passed=GOOD, errors=FILES)
    named = {line.split()[1] for line in result.outlines if line.startswith("ERROR broken")}
    assert named == {f"broken{number:03}.clnrm.toml" for number in range(FILES)}
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text
    # Each error begins with the file's own place.
    places = [line for line in result.outlines if line.startswith("broken") and ": " in line]
    assert {line.partition(".clnrm.toml")[0] for line in places} == {
        f"broken{number:03}" for number in range(FILES)
    }
