"""Run a command with a container engine: one that answers, else an embedded one for as long as it runs.

    python with_engine.py --check
    python with_engine.py [--image NAME:TAG] -- COMMAND...

``--check`` tells whether an engine answers. ``--image`` makes an image from this machine's busybox first, if
the engine does not have it. The command finds an engine of this machine in DOCKER_HOST.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm import EngineUnavailableError

# This is a tool, whose scripts lie beside it. Projects of your own import from pytest_clnrm alone.
from pytest_clnrm.engine.connect.connect import reach
from pytest_clnrm.engine.embedded import join

if TYPE_CHECKING:
    from docker import APIClient


def root_file_system() -> bytes:
    """Return a tar file: busybox, a link for each of its programs, and the files that programs expect."""
    busybox = shutil.which("busybox")
    if busybox is None:
        sys.exit("with_engine: busybox is not installed (Debian: busybox-static)")
    programs = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    files = {
        "bin/busybox": (Path(busybox).read_bytes(), 0o755),
        "etc/passwd": (b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n", 0o644),
        "etc/group": (b"root:x:0:\nnogroup:x:65534:\n", 0o644),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            tar.addfile(folder)
        for name, (content, mode) in files.items():
            file = tarfile.TarInfo(name)
            file.size, file.mode = len(content), mode
            tar.addfile(file, io.BytesIO(content))
        for program in sorted(set(programs) - {"busybox"}):
            link = tarfile.TarInfo(f"bin/{program}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return buffer.getvalue()


def make_image(client: APIClient, name: str) -> None:
    """Make the image *name*, ``repository:tag``, unless the engine has it."""
    from docker.errors import ImageNotFound

    try:
        client.inspect_image(name)  # type: ignore[no-untyped-call]  # of docker's types
    except ImageNotFound:
        repository, _, tag = name.rpartition(":")
        answer = client.import_image_from_data(
            root_file_system(), repository=repository, tag=tag, changes=["ENV PATH=/bin", 'CMD ["sh"]']
        )
        # Podman imports without the name, so it is given here for both.
        client.tag(json.loads(answer.strip().splitlines()[-1])["status"], repository, tag)
        print(f"made the image {name} from busybox", flush=True)


def run(command: list[str], image: str | None) -> int:
    """Return the command's exit code; an embedded engine is gone afterwards, with its files."""
    with tempfile.TemporaryDirectory(prefix="clnrm-") as folder:
        environ = {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache"}
        client, facts = reach("embedded", environ=environ, runtime_dir=Path(folder))
        try:
            print(f"engine: {facts.kind} {facts.version} at {facts.url}", flush=True)
            if image:
                make_image(client, image)
            # One over TCP or ssh was named by the environment, which stays as it is.
            environ = {"DOCKER_HOST": facts.url} if facts.url.startswith("unix://") else {}
            if folder in facts.url:
                # What runs write down of this engine is of no use once it is gone.
                environ["XDG_RUNTIME_DIR"] = folder
            return subprocess.run(command, env={**os.environ, **environ}, check=False).returncode
        finally:
            client.close()
            join.leave(Path(folder))


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description="Run a command with a container engine.")
    parser.add_argument("--check", action="store_true", help="tell whether an engine answers, and end")
    parser.add_argument("--image", metavar="NAME:TAG", help="make this image of busybox first")
    parser.add_argument("command", nargs="*")
    options = parser.parse_args()
    try:
        if options.check:
            client, facts = reach("auto", environ=os.environ, runtime_dir=Path("/nonexistent"))
            client.close()
            print(f"{facts.kind} {facts.version} at {facts.url}")
            return 0
        return run(options.command, options.image)
    except EngineUnavailableError as error:
        print(error, *(f"  {line}" for line in error.details), sep="\n", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
