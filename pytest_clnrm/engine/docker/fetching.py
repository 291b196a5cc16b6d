"""What a build would make the engine itself fetch.

A command of a build has the build's network; what ``ADD`` names by its address is fetched by the engine, from
wherever the engine runs: it reaches services of the host, and of the network around it.
"""

from __future__ import annotations

import json
import re

REMEDY = (
    "would make the engine fetch it, from where the engine is: COPY it from the context, or fetch it in a "
    'RUN of a build with network = "bridge"; a path that begins with a variable is written ./$NAME'
)

# As the engine's builder tells of each step ("Step 2/3 : ADD a b"), and Podman's ("STEP 2/3: ADD a b").
_STEP = re.compile(r"\s*step \d+(?:/\d+)? ?: *add\s+(.*)", re.IGNORECASE | re.DOTALL)
_TRIGGERS = re.compile(r"# Executing \d+ build triggers?\s*")
_SCHEMES = ("http://", "https://", "git://", "git@", "ssh://")
_OPTIONS = re.compile(r"(?:\s*--\S+)*")
_QUOTES = re.compile(r"[\"'\\`]")


def fetched_by_engine(told: str) -> str:
    """Return what the step that *told* announces makes the engine fetch, in words; "" if it is nothing.

    :param told: what the builder prints before a step.
    """
    if _TRIGGERS.fullmatch(told):
        # They are told of without their text.
        return "a step that its base image adds (ONBUILD)"
    step = _STEP.fullmatch(told)
    return "" if step is None else fetched_by_add(step[1])


def fetched_by_add(arguments: str) -> str:
    """Return what an ``ADD`` of *arguments* makes the engine fetch, in words; "" if it is nothing."""
    found = next(filter(_may_be_address, _sources(arguments)), None)
    return "" if found is None else f"ADD {found}"


def _sources(arguments: str) -> list[str]:
    """Return what an ``ADD`` of *arguments* adds: all but its options, and the last."""
    options = _OPTIONS.match(arguments)
    arguments = arguments[options.end() :] if options else arguments
    words = arguments.split()
    if arguments.lstrip().startswith("["):
        try:
            parsed = json.loads(arguments)
        except ValueError:
            # Then it is no list to the engine either.
            parsed = words
        words = [str(each) for each in parsed]
    return words[:-1]


def _may_be_address(source: str) -> bool:
    """Tell whether *source* is an address once quotes are taken away, whatever its variables are."""
    fixed, variable, _ = _QUOTES.sub("", source).lower().partition("$")
    if variable:
        return any(each.startswith(fixed) or fixed.startswith(each) for each in _SCHEMES)
    return fixed.startswith(_SCHEMES)
