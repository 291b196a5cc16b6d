"""pytest-clnrm: run TOML scenario files in containers, as pytest items.

pytest loads the plugin through its entry point: see the README for its options, docs/scenario-format.md for
the files that it collects, and docs/api.md for the names that can be imported from here.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import (
        BuildSpec,
        ContainerSpec,
        ContainerState,
        Engine,
        EngineFacts,
        ExecOutcome,
        ExecSpec,
        ImageFacts,
        Mount,
        OwnedObject,
    )
    from pytest_clnrm.engine.change_stream import ChangeStream
    from pytest_clnrm.engine.log_stream import LogStream
    from pytest_clnrm.engine.relay_api import ForwardedPort, Relay
    from pytest_clnrm.engine.snapshot_spec import SnapshotSpec
    from pytest_clnrm.errors import (
        ClnrmError,
        ContainerError,
        DemandTooLargeError,
        EngineError,
        EngineUnavailableError,
        ImageError,
        LedgerError,
        NoShellError,
        NotReadyError,
        ReservationError,
        ServiceEndedError,
        ServiceError,
        SlotTimeoutError,
        UnobservableError,
        UnsharedError,
    )
    from pytest_clnrm.items.async_container import AsyncContainer
    from pytest_clnrm.items.command_result import BytesResult, CommandResult
    from pytest_clnrm.items.container import Container
    from pytest_clnrm.items.container_network import ContainerNetwork
    from pytest_clnrm.items.containers import Containers
    from pytest_clnrm.items.failures import ScenarioFailedError
    from pytest_clnrm.items.tags import ScenarioWarning
    from pytest_clnrm.model.result import Result
    from pytest_clnrm.model.seen import PathFacts
    from pytest_clnrm.model.span import Span
    from pytest_clnrm.telemetry.merge.collector import CollectedSpan, SpanCollector

__version__ = "0.1.0"

__all__ = [
    "AsyncContainer",
    "BuildSpec",
    "BytesResult",
    "ChangeStream",
    "ClnrmError",
    "CollectedSpan",
    "CommandResult",
    "Container",
    "ContainerError",
    "ContainerNetwork",
    "ContainerSpec",
    "ContainerState",
    "Containers",
    "DemandTooLargeError",
    "Engine",
    "EngineError",
    "EngineFacts",
    "EngineUnavailableError",
    "ExecOutcome",
    "ExecSpec",
    "ForwardedPort",
    "ImageError",
    "ImageFacts",
    "LedgerError",
    "LogStream",
    "Mount",
    "NoShellError",
    "NotReadyError",
    "OwnedObject",
    "PathFacts",
    "Relay",
    "ReservationError",
    "Result",
    "ScenarioFailedError",
    "ScenarioWarning",
    "ServiceEndedError",
    "ServiceError",
    "SlotTimeoutError",
    "SnapshotSpec",
    "Span",
    "SpanCollector",
    "UnobservableError",
    "UnsharedError",
    "__version__",
]

if not TYPE_CHECKING:  # a type checker would believe this function that any name is there

    def __getattr__(name):
        """Return a public name, imported when it is asked for: every pytest run imports this module."""
        from importlib import import_module

        if name in __all__:
            for home in (
                "errors",
                "model.seen",
                "model.result",
                "model.span",
                "engine.api",
                "engine.change_stream",
                "engine.log_stream",
                "engine.relay_api",
                "engine.snapshot_spec",
                "telemetry.merge.collector",
                "items.tags",
                "items.async_container",
                "items.command_result",
                "items.container",
                "items.container_network",
                "items.containers",
                "items.failures",
            ):
                module = import_module(f"{__name__}.{home}")
                if hasattr(module, name):
                    return getattr(module, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
