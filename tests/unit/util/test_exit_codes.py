"""Exit codes in words."""

from __future__ import annotations

import pytest

from pytest_clnrm.util.exit_codes import exit_code_in_words


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (1, "exit code 1"),
        (126, "exit code 126 (command cannot be executed)"),
        (127, "exit code 127 (command not found)"),
        (128, "exit code 128"),
        (134, "exit code 134 (killed by SIGABRT)"),
        (137, "exit code 137 (killed by SIGKILL)"),
        (139, "exit code 139 (killed by SIGSEGV)"),
        (143, "exit code 143 (killed by SIGTERM)"),
        (255, "exit code 255"),
    ],
)
def test_in_words(code: int, words: str) -> None:
    """Those of shells and of signals are told, others are what a program makes of them."""
    assert exit_code_in_words(code) == words


def test_a_better_reason() -> None:
    """What is known of an end is more than its code tells."""
    words = exit_code_in_words(127, "command not found: serve")
    assert words == "exit code 127 (command not found: serve)"
