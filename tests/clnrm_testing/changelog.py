"""The part of CHANGELOG.md that belongs to a version: ``python -m clnrm_testing.changelog v0.1.0``.

It is printed, as the text of a release. The exit code is 1 if that version is not the one that would be
built, or has no part.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tomli

__all__ = ["part_of", "problem"]


def part_of(changelog: str, version: str) -> str:
    """Return what stands below the heading ``## [version] - date``, "" where there is no such heading."""
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n"
    found = re.search(rf"{heading}(.*?)(?=^## |^\[.*\]: |\Z)", changelog, re.DOTALL | re.MULTILINE)
    return found[1].strip() if found else ""


def problem(tag: str, root: Path) -> str:
    """Return why *root* cannot be released as *tag*, and what to do; "" if it can."""
    version = tomli.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    if tag != f"v{version}":
        return (
            f"the tag is {tag}, but pyproject.toml builds version {version}: tag v{version}, or change that"
        )
    if not part_of((root / "CHANGELOG.md").read_text("utf-8"), version):
        wanted = f'"## [{version}] - YYYY-MM-DD"'
        return f'CHANGELOG.md has nothing below {wanted}: make "## [Unreleased]" that heading'
    return ""


def main(tag: str, root: Path) -> int:
    """Print the part of *tag*; return the exit code."""
    if why_not := problem(tag, root):
        sys.stderr.write(f"{why_not}\n")
        return 1
    sys.stdout.write(f"{part_of((root / 'CHANGELOG.md').read_text('utf-8'), tag[1:])}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path.cwd()))
