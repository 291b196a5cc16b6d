"""By which name the engine is asked for an image, and what is no name."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.engine.api import ImageFacts
from pytest_clnrm.errors import ImageError
from pytest_clnrm.model.service import Service
from pytest_clnrm.runner.launch import find_image, image_name
from pytest_clnrm.settings.settings import Settings
from pytest_clnrm.settings.values import image_mapping


def _find(asked: str, found: str, *, image_map: tuple[tuple[str, str], ...] = ()) -> str:
    def ensure(reference: str, *_: object) -> ImageFacts:
        return ImageFacts(id=found, reference=reference)

    runtime: Any = SimpleNamespace(
        engine=lambda: SimpleNamespace(ensure_image=ensure),
        settings=Settings(image_map=image_map),
        board=SimpleNamespace(during=lambda *_: nullcontext(), at=print),
    )
    return find_image(runtime, Service(name="s", image=asked), 1.0).reference


@pytest.mark.parametrize(
    ("mapping", "asked", "name"),
    [
        ("postgres:*=mirror/postgres:16", "postgres:17", "mirror/postgres:16"),
        ("*=mirror/*", "shop/api:1", "mirror/shop/api:1"),
        ("shop/*:1=mirror/*:2", "shop/api:1", "mirror/api:2"),
        ("a*a=x*", "aa", "x"),
        ("a*a=x*", "a", "a"),
    ],
)
def test_mapped(mapping: str, asked: str, name: str) -> None:
    """A * of the new name is what the * of the old one stands for."""
    settings = Settings(image_map=(image_mapping(mapping),))
    assert image_name(settings, Service(name="s", image=asked)) == name


def test_what_a_file_names() -> None:
    """An image that the engine has found by its id is refused; one of that name, or mapped, is not."""
    with pytest.raises(
        ImageError, match="image '2f' is the start of an image's id: write its name with a tag"
    ):
        _find("2f", "sha256:2fa")
    assert _find("db", "sha256:2fa") == "db"
    assert _find("x", "sha256:2fa", image_map=(("*", "2f"),)) == "2f"
