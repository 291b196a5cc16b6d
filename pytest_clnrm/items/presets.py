"""Ready-made containers of Python tests: ``clnrm.postgres()``. What each is, stands in data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from pytest_clnrm.items.plain_errors import shows_caller

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pytest_clnrm.items.container_block import ContainerBlock
    from pytest_clnrm.items.service_arguments import ServiceArguments


class Presets(ABC):
    """A method for each of our presets, so that editors and type checkers know them.

    Their arguments are those of ``container(...)``, and win; ``env`` variable by variable. ``url()`` of the
    container tells where it is reached.
    """

    @abstractmethod
    def container(
        self,
        image: str | None = None,
        *,
        name: str | None = None,
        preset: str | None = None,
        **given: Unpack[ServiceArguments],
    ) -> ContainerBlock:
        """Return a block that starts a container."""

    @shows_caller
    def preset(
        self, preset: str, *, name: str | None = None, **given: Unpack[ServiceArguments]
    ) -> ContainerBlock:
        """Return a block with a container of the preset of that name, ours or of ``.clnrm/presets.toml``."""
        return self.container(name=name, preset=preset, **given)

    @shows_caller
    def postgres(self, *, name: str | None = None, **given: Unpack[ServiceArguments]) -> ContainerBlock:
        """Return a block with PostgreSQL."""
        return self.container(name=name, preset="postgres", **given)

    @shows_caller
    def mysql(self, *, name: str | None = None, **given: Unpack[ServiceArguments]) -> ContainerBlock:
        """Return a block with MySQL."""
        return self.container(name=name, preset="mysql", **given)

    @shows_caller
    def mariadb(self, *, name: str | None = None, **given: Unpack[ServiceArguments]) -> ContainerBlock:
        """Return a block with MariaDB."""
        return self.container(name=name, preset="mariadb", **given)

    @shows_caller
    def redis(self, *, name: str | None = None, **given: Unpack[ServiceArguments]) -> ContainerBlock:
        """Return a block with Redis."""
        return self.container(name=name, preset="redis", **given)

    @shows_caller
    def kafka(self, *, name: str | None = None, **given: Unpack[ServiceArguments]) -> ContainerBlock:
        """Return a block with Kafka, one node."""
        return self.container(name=name, preset="kafka", **given)

    @shows_caller
    def rabbitmq(self, *, name: str | None = None, **given: Unpack[ServiceArguments]) -> ContainerBlock:
        """Return a block with RabbitMQ."""
        return self.container(name=name, preset="rabbitmq", **given)

    @shows_caller
    def minio(self, *, name: str | None = None, **given: Unpack[ServiceArguments]) -> ContainerBlock:
        """Return a block with MinIO."""
        return self.container(name=name, preset="minio", **given)

    @shows_caller
    def mongo(self, *, name: str | None = None, **given: Unpack[ServiceArguments]) -> ContainerBlock:
        """Return a block with MongoDB."""
        return self.container(name=name, preset="mongo", **given)

    @shows_caller
    def elasticsearch(self, *, name: str | None = None, **given: Unpack[ServiceArguments]) -> ContainerBlock:
        """Return a block with Elasticsearch, one node."""
        return self.container(name=name, preset="elasticsearch", **given)

    @shows_caller
    def otel_collector(self, *, name: str | None = None, **given: Unpack[ServiceArguments]) -> ContainerBlock:
        """Return a block with an OpenTelemetry collector that prints what it gets."""
        return self.container(name=name, preset="otel-collector", **given)
