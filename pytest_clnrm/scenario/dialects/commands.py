"""Commands as wild files write them: one line that may or may not need a shell."""

from __future__ import annotations

import re
import shlex
from typing import Any

# What only a shell understands, outside quotes; quotes and what they protect are matched first.
_WORDS = re.compile(
    r"""'[^']*' | "(?:[^"\\$`]|\\[^$`\n])*" | \\[^\n] | (?P<shell>[|&;<>()$`*?{}\[\]\n\\"']|(?<!\S)[~\#])""",
    re.VERBOSE,
)
_FIRST_WORD = re.compile(
    r"""[A-Za-z_]\w*= | (?:!|\.|:|alias|break|case|cd|command|continue|eval|exec|exit|export|for|if|read
    |readonly|return|set|shift|source|times|trap|type|ulimit|umask|unset|until|wait|while)(?!\S)""",
    re.VERBOSE,
)


def split_run(text: Any) -> Any:
    """Return *text* split into words as a POSIX shell splits them, without one.

    Text that uses the shell's syntax (pipes, redirections, expansions, assignments, builtins, several lines)
    is returned as it is: canonical text runs under ``sh -c``. So is what is no text.
    """
    if not isinstance(text, str) or not text.strip():
        return text
    line = text.strip()
    if _FIRST_WORD.match(line) or any(match["shell"] for match in _WORDS.finditer(line)):
        return text
    return shlex.split(line)


def argv(text: str) -> list[str]:
    """Return the words of *text*, or of a shell that runs it."""
    words = split_run(text)
    return words if isinstance(words, list) else ["sh", "-c", text]
