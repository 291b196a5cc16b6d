"""Containers for Python tests: what the fixtures ``clnrm`` and ``clnrm_factory`` hand out.

They are started, limited, labelled and removed as those of scenarios are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

from pytest_clnrm.items.container_arguments import as_in_files, service_of
from pytest_clnrm.items.container_block import ContainerBlock
from pytest_clnrm.items.container_network import ContainerNetwork
from pytest_clnrm.items.in_thread import in_thread
from pytest_clnrm.items.plain_errors import called_from, calling_file, calling_folder, shows_caller
from pytest_clnrm.items.presets import Presets
from pytest_clnrm.items.shared_container import use_shared
from pytest_clnrm.model.policy import Policy
from pytest_clnrm.scenario.format.shared_rules import why_not_shared
from pytest_clnrm.scenario.sources import Sources

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pytest_clnrm.items.container import Container
    from pytest_clnrm.items.container_group import ContainerGroup
    from pytest_clnrm.items.scenario_calls import ScenarioCalls
    from pytest_clnrm.items.service_arguments import ServiceArguments, StrPath
    from pytest_clnrm.model.result import Result
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.model.span import Span
    from pytest_clnrm.scenario.options import LoadOptions


_Given = ParamSpec("_Given")
_Returned = TypeVar("_Returned")


def _awaited(
    method: Callable[Concatenate[Containers, _Given], _Returned],
) -> Callable[Concatenate[Containers, _Given], Coroutine[Any, Any, _Returned]]:
    """Return *method* as one that is awaited: it runs in a thread, and nothing of it is left behind."""

    def call(
        self: Containers, /, *args: _Given.args, **kwargs: _Given.kwargs
    ) -> Coroutine[Any, Any, _Returned]:
        __tracebackhide__ = True
        work = partial(method, self, *args, **kwargs)
        return in_thread(partial(called_from, calling_file(), work), lambda: None)

    return call


class Containers(Presets):
    """Makes containers for one test, or for whatever a wider fixture serves.

    :param options: which paths of the host may be named, and what may be asked for.
    :param calls: returns what runs scenario files; most tests do without it, and what it imports.
    """

    def __init__(
        self, group: ContainerGroup, options: LoadOptions, calls: Callable[[], ScenarioCalls]
    ) -> None:
        self._group = group
        self._calls = calls
        self._options = options
        self._runtime = group.runtime
        self._trace = group.trace
        self._numbers = itertools.count(1)

    @shows_caller
    def spans(self, *, count: int = 0, timeout: str | float = 5) -> tuple[Span, ...]:
        """Return the spans that programs in these containers have exported.

        :param count: wait until there are so many; fewer are returned once the time is over, or at once, with
            a warning that says what to do, where none can arrive.
        :param timeout: seconds, or text such as "1.5m".
        """
        return self._group.spans(count=count, timeout=timeout)

    def _unused_name(self) -> str:
        names = (f"container{number}" for number in self._numbers)
        return next(name for name in names if not self._runtime.networks().is_taken(name))

    @shows_caller
    def container(
        self,
        image: str | None = None,
        *,
        name: str | None = None,
        preset: str | None = None,
        **given: Unpack[ServiceArguments],
    ) -> ContainerBlock:
        """Return a block that starts a container, yields it once it is ready, and removes it at its end.

        :param image: image reference; ``--clnrm-image-map`` applies. ``build=`` stands in its place.
        :param preset: a ready-made definition, ours or of ``.clnrm/presets.toml``, over which the rest wins.
        :param name: under which other containers of fixtures and Python tests of this worker reach it; two
            that are there at once have different ones.
        :param given: the keys of a service in scenario files, see
            :class:`~pytest_clnrm.items.service_arguments.ServiceArguments`.
        :raises TypeError: if there is no such argument.
        :raises ValueError: if an argument is not what it must be, or more than the settings allow.

        The block raises ClnrmError if the container cannot be reserved, created or started, or is not ready,
        and ServiceEndedError at its end if it has ended in a way that was not announced.
        """
        apart = given.get("network")
        if isinstance(apart, ContainerNetwork):
            given["network"] = "isolated"
        service = self._service(image, name, preset, given)
        prepare = service.prepare
        if service.reset or (prepare and not service.is_prepared):
            each = prepare.each if prepare else ""
            argument = "reset" if service.reset else f"prepare with each={each!r}"
            raise ValueError(
                f"{argument}: it keeps apart who uses one container: only a shared one has it, "
                "clnrm.shared(...); here run it yourself: box.run([...])"
            )
        return ContainerBlock(self._group, service, apart if isinstance(apart, ContainerNetwork) else None)

    def _service(
        self, image: str | None, name: str | None, preset: str | None, given: ServiceArguments
    ) -> Service:
        """Return what the arguments describe, with its secrets hidden."""
        env = given.get("env")
        self._hide(env if isinstance(env, Mapping) else {})
        try:
            service = service_of(
                image,
                self._unused_name() if name is None else name,
                given if preset is None else {"preset": preset, **given},
                source=Sources(calling_folder(self._options.rootdir), self._options),
                policy=self._options.policy or Policy(),
                presets=self._options.presets,
            )
            if not all(each.read_only for each in service.volumes):
                self._calls().check_volumes(service, calling_file())
        except (TypeError, ValueError) as error:
            raise type(error)(self._group.redactor.text(str(error))) from None
        self._hide(service.env)
        for warning in self._trace.warnings(service.env):
            self._group.warn(f"container {service.name!r}: {warning}")
        return service

    def network(self) -> ContainerNetwork:
        """Return a block in which there is a network for some of these containers: ``network=net``.

        They reach one another by their names, and no other container, nor does any reach them.
        """
        return ContainerNetwork(self._runtime)

    def _hide(self, env: Mapping[str, object]) -> None:
        """Show the values of variables nowhere that are secret by their names."""
        secrets = self._runtime.settings.secrets
        self._group.redactor.add(str(value) for key, value in env.items() if key in secrets)

    @shows_caller
    def shared(
        self,
        name: str,
        image: str | None = None,
        *,
        scope: Literal["module", "run"] = "run",
        preset: str | None = None,
        **given: Unpack[ServiceArguments],
    ) -> Container:
        """Return a container that all tests of the run share which ask for the same; no block ends it.

        Whoever asks first starts it, in whichever worker; it is ready then. This test, or the session if it
        is asked for by ``clnrm_shared``, uses it until it ends.

        :param name: under which other containers of tests and fixtures reach it.
        :param scope: "module" for one that only tests of the calling file share.
        :param preset: as of :meth:`container`, and so is *given*.
        :raises ValueError: if an argument is not what it must be, or cannot be shared.
        :raises ClnrmError: if it cannot be reserved or started, is not ready, or has ended.
        """
        if scope not in {"module", "run"}:
            raise ValueError(f'scope={scope!r}: write "run", or "module" for the tests of this file')
        if isinstance(given.get("network"), ContainerNetwork):
            raise ValueError("network=...: a shared container is on the network of its users: leave it out")  # noqa: TRY004 (as of any wrong argument)
        service = replace(self._service(image, name, preset, given), scope=scope)
        if not self._group.is_of_test and (asked := _for_each_test(service)):
            raise ValueError(
                f"{asked}: this fixture uses the container until the session ends, not for one test: take "
                "clnrm.shared(...), in a fixture of function scope or in the test"
            )
        for at, message, hint in why_not_shared(service):
            argument = next((str(each) for each in at[-1:]), "")
            raise ValueError(f"{argument}: {message} ({hint})")
        container, end = use_shared(self._group, service, str(calling_file()))
        self._group.at_close(end)
        return container

    @shows_caller
    def scenario(
        self,
        path: StrPath,
        *,
        vars: Mapping[str, object] | None = None,  # noqa: A002 (as the file calls them)
        name: str | None = None,
        check: bool = True,
    ) -> Result:
        """Run the scenario of a file, and return its result.

        What it needs is taken from what the test has reserved, or waited for as for a fixture's container.

        :param path: relative to the calling file.
        :param vars: values in place of those that the file's ``[vars]`` have.
        :param name: of one of several scenarios; with the values of its matrix, as items show it.
        :param check: False: return the result of a failed scenario too, with ``passed`` and ``failures``.
        :raises ValueError: with all mistakes of the file, or if it has several scenarios.
        :raises ScenarioFailedError: an AssertionError with what the failed scenario is shown as.
        :raises ClnrmError: if its room cannot be reserved, or an image cannot be had.
        """
        place = Path(calling_folder(self._options.rootdir), path)
        calls = self._calls()
        return calls.run(calls.only(calls.items(place, as_in_files(vars or {}), name)), check=check)

    @shows_caller
    def scenarios(
        self,
        path: StrPath,
        *,
        vars: Mapping[str, object] | None = None,  # noqa: A002 (as the file calls them)
        check: bool = True,
    ) -> tuple[Result, ...]:
        """Run all scenarios of a file, one after the other, as :meth:`scenario` does."""
        place = Path(calling_folder(self._options.rootdir), path)
        calls = self._calls()
        items = calls.items(place, as_in_files(vars or {}), None)
        return calls.run_all(items, check=check)

    scenario_async = _awaited(scenario)
    """As :meth:`scenario`, to be awaited; who is cancelled meanwhile waits for the end of the scenario."""
    scenarios_async = _awaited(scenarios)


def _for_each_test(service: Service) -> str:
    """Return the argument by which something is to be done for each test, "" if none asks for it."""
    if service.reset:
        return "reset"
    return "prepare with each='scenario'" if service.prepare and service.prepare.each == "scenario" else ""
