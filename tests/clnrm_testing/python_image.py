"""An image with Python, OpenTelemetry's SDK and busybox, and those with a program that are built on it.

It is made once for an engine, and stays there as the tests' image of busybox does: making it takes as long as
twenty tests. Its name has a hash of all that it is made of.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["python_image"]

NAME = "clnrm-test-python"
SITE = "/site"
PACKAGES = (
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-exporter-otlp-proto-grpc",
)
BUSYBOX = (
    "sh", "sleep", "echo", "cat", "wget", "test", "true", "printf", "env", "base64", "tr",
    "find", "rm", "stat",
)  # fmt: skip
NOT_NEEDED = shutil.ignore_patterns(
    "site-packages", "test", "tests", "idlelib", "ensurepip", "config-*", "tkinter", "lib2to3", "pydoc_data",
    "turtledemo", "*.opt-?.pyc", "_test*", "_tkinter*", "_codecs_*",
)  # fmt: skip
DOCKERFILE = f"""FROM scratch
COPY root /
ENV PATH=/bin PYTHONPATH={SITE} PYTHONDONTWRITEBYTECODE=1
CMD ["sh"]
"""


@contextmanager
def python_image(client: APIClient, folder: Path, program: Path, more: str = "") -> Iterator[str]:
    """Build an image in which ``python /program.py`` runs *program*, and yield its name; it is removed then.

    :param folder: does not exist yet.
    :param more: lines for its Dockerfile.
    """
    folder.mkdir()
    shutil.copy(program, folder / "program.py")
    (folder / "Dockerfile").write_text(f"FROM {_base(client)}\nCOPY program.py /program.py\n{more}")
    image = f"{NAME}:{secrets.token_hex(4)}"
    _build(client, folder, image)
    try:
        yield image
    finally:
        client.remove_image(image, force=True)


def _base(client: APIClient) -> str:
    """Return the image without a program, made unless the engine has it; other workers wait meanwhile."""
    packages = [f"{each.name} {each.version}" for each in _with_requirements(*PACKAGES)]
    made_of = [sys.version, *sorted(packages), Path(__file__).read_text("utf-8")]
    image = f"{NAME}-base:{hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]}"
    with FileLock(Path(tempfile.gettempdir(), f"{NAME}.lock")):
        if not client.images(name=image):
            with tempfile.TemporaryDirectory() as folder:
                _write_context(Path(folder))
                _build(client, Path(folder), image)
    return image


def _build(client: APIClient, folder: Path, image: str) -> None:
    for said in client.build(path=str(folder), tag=image, rm=True, decode=True):
        assert "error" not in said, said


def _write_context(folder: Path) -> None:
    root = folder / "root"
    _copy_python(root)
    for package in _with_requirements(*PACKAGES):
        for file in package.files or ():
            source = Path(str(package.locate_file(file)))
            if "__pycache__" not in file.parts and ".." not in file.parts and source.is_file():
                _copy(source, root / SITE[1:] / file)
    _copy_libraries(root, [*(root / SITE[1:]).rglob("*.so")])
    # A container starts in a second instead of five.
    compileall = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*compileall, str(root / SITE[1:])], check=True)
    busybox = shutil.which("busybox")
    assert busybox is not None, "the image has a shell of busybox, which is not on PATH"
    _copy(Path(busybox), root / "bin/busybox")
    for name in BUSYBOX:
        (root / "bin" / name).symlink_to("busybox")
    (root / "tmp").mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)


def _copy_python(root: Path) -> None:
    """Copy the interpreter, its library, and the shared libraries that they need, to where they are here."""
    real = Path(sys.base_prefix, "bin", f"python{sysconfig.get_python_version()}").resolve()
    stdlib = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(stdlib, root / str(stdlib)[1:], ignore=NOT_NEEDED, symlinks=True)
    _copy_libraries(root, [real, *(stdlib / "lib-dynload").glob("*.so")])
    _copy(real, root / str(real)[1:])
    (root / "bin").mkdir(exist_ok=True)
    (root / "bin/python").symlink_to(real)


def _copy_libraries(root: Path, binaries: list[Path]) -> None:
    """Copy the shared libraries that *binaries* need to where they are here."""
    listed = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False).stdout
    for library in set(re.findall(r"(?:=> |^\s*)(/\S+) \(0x", listed, re.MULTILINE)):
        if "tk" not in library and "tcl" not in library and "X11" not in library:
            _copy(Path(library), root / library[1:])


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _with_requirements(*names: str) -> Iterator[Distribution]:
    """Yield the packages *names* and all that they need."""
    seen: set[str] = set()
    pending = list(names)
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            package = distribution(name)
        except PackageNotFoundError:  # needed by other Pythons only
            continue
        yield package
        wanted = [each for each in package.requires or () if "extra ==" not in each]
        pending += [re.split(r"[^A-Za-z0-9._-]", each, maxsplit=1)[0] for each in wanted]
