"""A network that a Python test makes for some of its containers."""

from __future__ import annotations

import threading
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.items.in_thread import in_thread

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from pytest_clnrm.runtime.network import Network
    from pytest_clnrm.runtime.runtime import Runtime


class ContainerNetwork(
    AbstractContextManager["ContainerNetwork"], AbstractAsyncContextManager["ContainerNetwork"]
):
    """The block in which a network is there; containers that name it reach one another, and no others.

    It is made for the first of them: a cluster has none before an image is asked for.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._guard = threading.Lock()
        self._is_open = False
        self._network: Network | None = None

    def __enter__(self) -> Self:
        """Begin the block."""
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        self._is_open = False
        network, self._network = self._network, None
        if network is not None:
            self._runtime.networks().give_back(network)

    async def __aenter__(self) -> Self:
        """Begin the block."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do the same in a thread, whether or not the test is cancelled."""
        await in_thread(partial(self.__exit__, kind, error, trace), _nothing)

    def there(self) -> Network:
        """Return the network: one that is empty, or a new one.

        :raises ContainerError: outside of its block.
        :raises EngineError: with the engine's reason.
        """
        if not self._is_open:
            raise ContainerError(
                "this network is not there: name it within its block, with clnrm.network() as net"
            )
        with self._guard:
            if self._network is None:
                self._network = self._runtime.networks().lend()
            assert self._network is not None  # noqa: S101 (no idle container is to be on it)
            return self._network


def _nothing() -> None:
    """Wait for work that ends soon."""
