"""What a service is made of, as a hash: image, keys of its file, and the content of what it is given."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_clnrm.runner.launch import planned
from pytest_clnrm.util.beneath import Opened, open_beneath
from pytest_clnrm.util.walk import Entry, TooMuchError, walk

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ContainerSpec, ImageFacts
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace

_VERSION = 1
"""Of what is made of it: raised when what was made before must not be used any more."""

_MAX_MOUNTED_BYTES = 64 << 20
_MAX_MOUNTED = 10_000
_UNTOLD = frozenset({"at", "name", "labels", "networks", "no_proxy", "mounts", "outlives"})
"""Fields that are no part of what is made: of the file, of one container, or told otherwise."""


class UntellableError(Exception):
    """It cannot be told what a service is made of; its message says why."""


class SecretInItError(Exception):
    """There is a secret in it; its message says where."""


def made_of(
    runtime: Runtime,
    service: Service,
    image: ImageFacts,
    *,
    trace: ScenarioTrace,
    hide: Callable[[str], str],
    may_hold_secrets: bool,
) -> str:
    """Return a hash of all that makes a service.

    :param hide: returns a text without secrets.
    :raises SecretInItError: if there is a secret in it, which it may not hold.
    :raises UntellableError: if there is too much of it.
    """
    spec, _ = planned(runtime, service, image, name="", labels={}, network=None, trace=trace)
    making = _Making(runtime=runtime, hide=None if may_hold_secrets else hide)
    spec = replace(spec, env=service.env)
    making.check_secrets(service, spec)
    told = [_VERSION, service.name, image.id, service.network, service.stop_grace_s]
    told += [_plain_data(each) for each in (spec, service.ready, service.prepare)]
    told += [(each.target, making.digest(each.source)) for each in service.volumes]
    return sha256(repr(told).encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class _Making:
    """Looks at what makes a service.

    :param hide: returns a text without secrets; None if there may be some.
    """

    runtime: Runtime
    hide: Callable[[str], str] | None

    def check_secrets(self, service: Service, spec: ContainerSpec) -> None:
        """Refuse what holds a secret.

        :raises SecretInItError: if there is one.
        """
        if self.hide is None:
            return
        secret = next((name for name in spec.env if name in self.runtime.settings.secrets), "")
        command = service.prepare.command if service.prepare else ()
        held = {
            "environment": [f"{name}={value}" for name, value in spec.env.items()],
            "command": [*(spec.command or ()), *command],
        }
        where = next((where for where, texts in held.items() if any(map(self._is_secret, texts))), "")
        if any(self._holds_secret(each.content) for each in spec.files):
            where = where or "files"
        if secret or where:
            raise SecretInItError(f"its {where or 'environment'}")

    def digest(self, source: str) -> str:
        """Return a hash of what a folder or file of the host holds.

        :raises UntellableError: if that is too much.
        :raises SecretInItError: if a secret is in it.
        """
        found, left = [], _MAX_MOUNTED_BYTES
        try:
            with open_beneath("/", source) as opened:
                for entry in walk(opened, max_entries=_MAX_MOUNTED):
                    content = _content(opened, entry, left)
                    left -= len(content)
                    if self._holds_secret(content):
                        raise SecretInItError(source)
                    status = entry.status
                    facts = (entry.path, status.st_mode, status.st_uid, status.st_gid)
                    found.append((facts, sha256(content).hexdigest()))
        except TooMuchError as error:
            raise UntellableError(
                f"{source} holds too much to tell whether it has changed: {error}"
            ) from None
        return repr(sorted(found))

    def _holds_secret(self, content: bytes) -> bool:
        return self.hide is not None and self._is_secret(content.decode("utf-8", "replace"))

    def _is_secret(self, text: str) -> bool:
        return self.hide is not None and self.hide(text) != text


def _content(opened: Opened, entry: Entry, left: int) -> bytes:
    """Return what makes the content of an entry: of a link where it leads, of a file its bytes.

    :raises UntellableError: if it is a file of more than *left* bytes.
    """
    if stat.S_ISLNK(entry.status.st_mode):
        return os.fsencode(Path(entry.reach).readlink())
    if not stat.S_ISREG(entry.status.st_mode):
        return b""
    if entry.status.st_size > left:
        raise UntellableError(f"its mounted files hold more than {_MAX_MOUNTED_BYTES >> 20} MB")
    if not entry.path:
        return opened.read(left)
    with opened.beneath(entry.path) as file:
        return file.read(left)


def _plain_data(value: Any) -> Any:
    """Return a value as tuples without what is no part of what is made."""
    if is_dataclass(value):
        return tuple(
            (each.name, _plain_data(getattr(value, each.name)))
            for each in fields(value)
            if each.name not in _UNTOLD
        )
    if isinstance(value, Mapping):
        return tuple(sorted((key, _plain_data(each)) for key, each in value.items()))
    return tuple(map(_plain_data, value)) if isinstance(value, (tuple, list)) else value
