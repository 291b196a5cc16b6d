"""Images of containers that have ended, with what is in their own volumes.

An engine's commit leaves volumes out: their content becomes one more layer, by a build that runs no command.
What an image has at the path of a volume is copied into a new volume of each of its containers, which takes
longer than all else of a start. So the image declares them no more, where the engine takes such an image.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import docker.errors

from pytest_clnrm.engine.docker.archive import reading
from pytest_clnrm.engine.plain_errors import plain_errors
from pytest_clnrm.errors import ContainerError, EngineError
from pytest_clnrm.model.service import OURS

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.snapshot_spec import SnapshotSpec

_CONFLICT = 409
_CHUNK_BYTES = 64 * 1024
_DOING = "keep the container as an image"


def take_image(client: APIClient, spec: SnapshotSpec) -> str:
    """Return the id of a new image of a container that has ended, with its volumes.

    :raises ContainerError: if the image would not be all of the container, or there cannot be one.
    """
    with plain_errors(_DOING, ContainerError), tempfile.TemporaryDirectory() as folder:
        archives = {
            path: _archive_of_volume(client, spec, path, Path(folder) / f"{number}.tar")
            for number, path in enumerate(sorted(spec.volumes))
        }
        config = client.inspect_container(spec.container)["Config"]
        ours = (name for name in config.get("Labels") or () if name.startswith(f"{OURS}."))
        labels = {**dict.fromkeys(ours, ""), **spec.labels}
        changes = [f"LABEL {json.dumps(name)}={json.dumps(value)}" for name, value in labels.items()]
        image = base = str(client.commit(spec.container, changes=changes)["Id"])
        try:
            _check_inert(client, base)
            if archives:
                image = _with_volumes(client, base, archives, Path(folder))
                if undeclared := _undeclared(client, image, spec.volumes):
                    # What it was made from goes with it; the layers stay, as they are the new one's too.
                    client.remove_image(image)
                    image = undeclared
            repository, _, tag = spec.name.rpartition(":")
            client.tag(image, repository, tag)
        except BaseException:
            client.remove_image(image, force=True)
            raise
    return image


def _check_inert(client: APIClient, image: str) -> None:
    """Check that a build from an image runs nothing.

    :raises ContainerError: if it would.
    """
    if client.inspect_image(image)["Config"].get("OnBuild"):  # type: ignore[no-untyped-call]
        raise ContainerError("its image has commands for those that are built from it (ONBUILD)")


def _archive_of_volume(client: APIClient, spec: SnapshotSpec, path: str, file: Path) -> Path:
    """Write the archive of a volume to *file*, and return that.

    :raises ContainerError: if it is too large, or a layer of it could not tell what is gone.
    """
    pieces, _ = client.get_archive(spec.container, path, chunk_size=_CHUNK_BYTES)
    size = 0
    with file.open("wb") as written:
        for piece in pieces:
            size += len(piece)
            if size > spec.max_bytes:
                raise ContainerError(f"its volume {path} holds more than {spec.max_bytes >> 20} MB")
            if time.monotonic() >= spec.deadline_s:
                raise ContainerError("the time for it is over")
            written.write(piece)
    with file.open("rb") as archive, reading(_pieces_of(archive)) as entries:
        names = {entry.name.partition("/")[2].rstrip("/") for entry in entries}
    gone = sorted(spec.volumes[path] - names - {""})
    if gone:
        message = f"its first start removed {path.rstrip('/')}/{gone[0]}, which its image has in a volume"
        raise ContainerError(message)
    return file


def _pieces_of(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_CHUNK_BYTES):
        yield piece


def _with_volumes(client: APIClient, base: str, archives: Mapping[str, Path], folder: Path) -> str:
    """Return the id of an image with one more layer for each archive of a volume.

    :param archives: by the paths of the volumes.
    :raises ContainerError: with the engine's reason.
    """
    lines = [f"FROM {base}"]
    with (folder / "context").open("w+b") as context:
        with tarfile.open(fileobj=context, mode="w") as tar:
            for path, file in archives.items():
                tar.add(file, file.name)
                above = f"{posixpath.dirname(path.rstrip('/')).rstrip('/')}/"
                lines.append(f"ADD {json.dumps([file.name, above])}")
            text = "\n".join(lines).encode()
            dockerfile = tarfile.TarInfo("Dockerfile")
            dockerfile.size = len(text)
            tar.addfile(dockerfile, io.BytesIO(text))
        context.seek(0)
        # docker-py's own call reads the user's credentials, which nothing here needs.
        answer = client.post(
            f"{client.base_url}/v{client.api_version}/build",
            data=context,
            params={"rm": "1", "forcerm": "1", "networkmode": "none"},
            headers={"Content-Type": "application/tar"},
            stream=True,
            timeout=client.timeout,
        )
        with closing(answer):
            client._raise_for_status(answer)  # type: ignore[attr-defined]  # noqa: SLF001
            return _built([json.loads(line) for line in answer.iter_lines()])


def _undeclared(client: APIClient, image: str, volumes: Iterable[str]) -> str:
    """Return the id of an image like another one, but without its volumes; "" if the engine cannot have it.

    Only its configuration is sent. The engine has the layers, and looks for them before it reads any; one
    that keeps images in containerd does not, and refuses an image without them.
    """
    about = client.inspect_image(image)  # type: ignore[no-untyped-call]
    given = {path.rstrip("/") for path in volumes}
    left: dict[str, dict[str, str]] = {
        path: {} for path in about["Config"].get("Volumes") or () if path.rstrip("/") not in given
    }
    layers = about["RootFS"]["Layers"]
    config = {
        "architecture": about["Architecture"],
        "os": about["Os"],
        "created": about["Created"],
        "config": {**about["Config"], "Volumes": left or None},
        "rootfs": {"type": "layers", "diff_ids": layers},
    }
    text = json.dumps(config).encode()
    found = hashlib.sha256(text).hexdigest()
    manifest = [{"Config": f"{found}.json", "Layers": [f"{layer[-64:]}.tar" for layer in layers]}]
    sent = io.BytesIO()
    with tarfile.open(fileobj=sent, mode="w") as tar:
        for name, content in {f"{found}.json": text, "manifest.json": json.dumps(manifest).encode()}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    with suppress(docker.errors.APIError):
        for _ in client.load_image(sent.getvalue()):  # type: ignore[no-untyped-call]
            pass
        about = client.inspect_image(f"sha256:{found}")  # type: ignore[no-untyped-call]
        if about["RootFS"]["Layers"] == layers:
            return str(about["Id"])
    return ""


def _built(events: list[dict[str, Any]]) -> str:
    """Return the id of the image that a build has made.

    :param events: what the engine told of it.
    :raises ContainerError: with its reason.
    """
    failure = next((each["error"] for each in events if "error" in each), "")
    images = [each["aux"]["ID"] for each in events if "ID" in (each.get("aux") or {})]
    if failure or not images:
        raise ContainerError(f"cannot {_DOING}: {failure or 'the engine does not tell what it has built'}")
    return str(images[-1])


def list_images(client: APIClient, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of all images with these labels, but those that others were built from."""
    with plain_errors("list the images"):
        found = client.images(filters={"label": [f"{name}={value}" for name, value in labels.items()]})
    return tuple(str(each["Id"]) for each in found)


def remove_image(client: APIClient, image: str) -> bool:
    """Remove an image; one that is gone is no error. Return False if a container of it is there."""
    with plain_errors("remove the image", EngineError):
        try:
            client.remove_image(image)
        except docker.errors.NotFound:
            return True
        except docker.errors.APIError as error:
            if error.status_code != _CONFLICT:
                raise
            return False
    return True
