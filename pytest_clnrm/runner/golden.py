"""Reading the files that a scenario compares texts with."""

from __future__ import annotations

import errno
import os

from pytest_clnrm.expect.golden import GoldenFileError, Read
from pytest_clnrm.util.beneath import open_beneath

MAX_BYTES = 4 << 20


def golden_reader(rootdir: str, scenario_file: str) -> Read:
    """Return what reads files beside a scenario file, beneath *rootdir*, through no link."""
    root = os.path.realpath(rootdir)
    folder = os.path.realpath(os.path.dirname(scenario_file))  # noqa: PTH120 (a text, as the next)

    def read(path: str) -> str:
        try:
            with open_beneath(root, os.path.normpath(os.path.join(folder, path))) as opened:  # noqa: PTH118
                return opened.read(MAX_BYTES).decode()
        except FileNotFoundError:
            why = "there is none: write what is expected into it"
        except UnicodeDecodeError as error:
            why = f"it is no UTF-8: {error.reason} at byte {error.start}"
        except OSError as error:
            why = {
                errno.ELOOP: "it is a link, or lies behind one: name the file itself",
                errno.EXDEV: "it lies outside of rootdir: move it below",
            }.get(error.errno or 0, error.strerror or str(error))
        raise GoldenFileError(f"cannot be compared with the file {path!r}: {why}")

    return read
