"""Images: what they say of themselves, and their files, of a container that is never started."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_clnrm.engine.api import ContainerSpec
from pytest_clnrm.errors import ImageError
from pytest_clnrm.expect.checks.images import judge_image
from pytest_clnrm.model.service import Service
from pytest_clnrm.runner.launch import find_image

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ImageFacts
    from pytest_clnrm.expect.text_checks import TextFault
    from pytest_clnrm.model.check import ImageCheck
    from pytest_clnrm.runner.actions.attempt import Setting

_SET_UID = 0o4000
# It is never started: its limits are as good as any.
_MEMORY_BYTES, _CPUS, _PIDS = 16 << 20, 0.1, 1


def check_image(check: ImageCheck, setting: Setting, title: str) -> Iterator[TextFault]:
    """Yield why an image is something else than expected.

    :raises ClnrmError: if it cannot be told.
    """
    image = _image(check, setting)
    seen = setting.around.runtime.engine().look_at_image(image.id)
    return judge_image(check, seen, title, _with_set_uid(image, setting) if check.no_setuid else ())


def _image(check: ImageCheck, setting: Setting) -> ImageFacts:
    around = setting.around
    if check.image in around.containers:
        return around.containers[check.image].image
    # One whose name is known before was got before the scenario's time began.
    found = around.images.get(check.image)
    if isinstance(found, ImageError):
        raise found
    if found is not None:
        return found
    return find_image(around.runtime, Service(name="", image=check.image), timeout_s=0.0)


def _with_set_uid(image: ImageFacts, setting: Setting) -> list[str]:
    """Return the paths of the image's files with the set-uid bit."""
    runtime = setting.around.runtime
    engine = runtime.engine()
    spec = ContainerSpec(
        name=f"{runtime.next_name()}-files",
        image=image.id,
        memory_bytes=_MEMORY_BYTES,
        cpus=_CPUS,
        pids=_PIDS,
        # An image without a command needs one.
        command=("never-started",),
        labels=setting.around.labels,
    )
    container = engine.create_container(spec)
    try:
        files = engine.list_files(container, deadline_s=setting.deadline_s)
        return [path for path, each in files if each.kind == "file" and each.mode & _SET_UID]
    finally:
        engine.remove([container])
