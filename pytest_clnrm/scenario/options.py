"""With what scenario files are read: where their paths lead, and what they may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_clnrm.model.selection import NO_MARKS, KnownMarks
from pytest_clnrm.scenario.presets.users import NO_PRESETS, UsersPresets

if TYPE_CHECKING:
    from pytest_clnrm.model.policy import Policy
    from pytest_clnrm.scenario.mounts import VolumeRules


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What a file is loaded with.

    :param rootdir: absolute; sources of volumes lie below it.
    :param default_image: of the container for steps without a service.
    :param env_allowed: environment variables that templates may name.
    :param environ: the environment.
    :param strict: True if a claim that is not checked is a mistake.
    :param allow_mounts: absolute folders below which sources of volumes may lie too.
    :param sockets: absolute paths at which an engine may listen: no volume shows them.
    :param secrets: names of variables whose values are secret, whatever the file says.
    :param volumes: which volumes are refused beside those that lie outside; None: the writable ones.
    :param policy: what the file may ask for at most; None for no caps.
    :param marks: those of this run.
    :param variables: values in place of those that the file's own variables have.
    :param presets: the user's own.
    """

    rootdir: str
    default_image: str = "alpine:latest"
    env_allowed: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    strict: bool = False
    allow_mounts: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    volumes: VolumeRules | None = None
    policy: Policy | None = None
    marks: KnownMarks = NO_MARKS
    variables: Mapping[str, object] = field(default_factory=dict)
    presets: UsersPresets = NO_PRESETS
