"""What a Dockerfile would make the engine fetch, or names by an id, however it is written."""

from __future__ import annotations

import pytest

from pytest_clnrm.engine.docker.dockerfiles import problem_of_dockerfile

FETCHES = [
    "ADD http://a /x",
    "add\thttp://a /x",
    "  ADD http://a /x",
    "\ufeffADD http://a /x",
    "ADD a \\\n http://b /x",
    "ADD a \\  \r\n\r\n# said\n  # too \\\nhttp://b /x\r",
    "A\\\nD\\\nD http://b /x",
    "ADD \\\\\nhttp://b /x",
    "# escape=`\nADD a `\nhttp://b /x",
    "# syntax=a\n#Escape = `\nADD `\n\n http://b /x",
    "# escape=`\nADD http://b \\\n",
    'ADD ["http://a", "/x"]',
    'ADD ["\\u0068ttp://a", "/x"]',
    'ADD --chown=1 ["a", "https://b", "/x"]',
    "ONBUILD ADD http://a /x",
    "onbuild \\\n add git@a:b /x",
    "ARG A=http\nADD $A://b /x",
    "ADD HTTP://a /x",
    "RUN <<EOF\ntrue \\\nEOF\nADD http://a /x",
    "RUN <<'A' cat <<B\nA\nB\nADD http://a /x",
    "ADD http://a <<EOF /x\nEOF",
]


@pytest.mark.parametrize("text", FETCHES)
def test_the_engine_would_fetch(text: str) -> None:
    """The address is named, and what to write instead."""
    found = problem_of_dockerfile(f"{text}\n".encode(), {})
    assert found.startswith("ADD ")
    assert "would make the engine fetch it, from where the engine is: COPY it from the context" in found


@pytest.mark.parametrize(
    "text",
    [
        "FROM 2fa",
        "FROM 2",
        "FROM --platform=linux/amd64 sha256:2fa AS x",
        "from \\\n 2f\\\na as x",
        "ARG A=2fa\nFROM $A",
        "ARG A=2f\nARG B=${A}a\nFROM ${B}",
        "FROM ${A:-2fa}",
        "FROM ${FROM_ARGS}",
        "FROM 2f$A",
        "FROM ${A#x}",
        "".join(f"ARG A{i}=$A{i + 1}\n" for i in range(2000)) + "FROM $A0",
        "ARG A=2fa\nFROM ${B:-${A}}",
        "FROM ${B:-${C:-2fa}}",
        "FROM $" + "{A:-$" * 900 + "x",
        'FROM scratch\nRUN --mount="type=bind,from=2fa,target=/x" cat /x',
        "FROM scratch\nCOPY --from=2fa /secret /",
        "FROM scratch\nCOPY --from=12 /secret /",
        "FROM scratch\nONBUILD COPY --chown=1 --from=2fa /secret /",
        "FROM scratch\nRUN --mount=type=bind,from=2fa,target=/x cat /x",
    ],
)
def test_an_id(text: str) -> None:
    """It may be of any image that is on the engine, whoever has it there."""
    found = problem_of_dockerfile(text.encode(), {"FROM_ARGS": "2fa"})
    assert "may be the id of any image of this host, or the start of one: write its name with a tag" in found


@pytest.mark.parametrize(
    "text",
    [
        "FROM scratch\nADD a.tar /x",
        "ARG V=18\nFROM node:$V AS x\nFROM x\nCOPY --from=0 /a /b\nCOPY --from=x /a /b\nCOPY --from=1 /a /b",
        "ARG V=3\nARG B=alpine:$V\nFROM ${B}\nFROM ${C:-debian:12}",
        "FROM ada:latest\nFROM a@sha256:2fa",
        "FROM scratch\nCOPY http /x\nRUN wget http://a && \\\n  add-apt-repository x",
        "FROM scratch\nRUN <<EOF\nfrom abc import add\nEOF",
        "# ADD http://a /x\nFROM scratch\n# FROM 2fa",
        "FROM scratch\nADD a http://b",
        "",
    ],
)
def test_nothing_is_wrong(text: str) -> None:
    """Files of the context, names with a tag, stages by name or number."""
    assert problem_of_dockerfile(text.encode(), {}) == ""


@pytest.mark.parametrize(
    "text",
    [
        "ADD a" + " --a" * 200_000 + " b c\n",
        "ADD " + "--a " * 200_000 + "b c\n",
        "ARG " + "a" * 1_000_000 + "\n",
        "RUN " + "--mount=" * 120_000 + "\n",
        "FROM a:" + " " * 900_000 + "b\n",
        "A\\\n" + (" " * 190 + "\\\n") * 4_900,
        "\\   " * 200_000 + "\n",
    ],
)
def test_long_lines(text: str) -> None:
    """They take time by their length; the time of a test would be over long before that of its square."""
    assert problem_of_dockerfile(text.encode(), {}) == ""


def test_instructions_in_one_another() -> None:
    """Each line may start one, and goes on to the end."""
    text = ("ADD " + "a" * 200 + "\\\n") * 4_900
    expected = "its Dockerfile has too many instructions within continued lines"
    assert problem_of_dockerfile(text.encode(), {}) == expected


@pytest.mark.parametrize("content", [b"#\n" * 5001, b"#" * (2 << 20)])
def test_too_long(content: bytes) -> None:
    """What nobody reads is not looked at for ever."""
    assert problem_of_dockerfile(content, {}) == "its Dockerfile is longer than 5000 lines or 1 MB"
