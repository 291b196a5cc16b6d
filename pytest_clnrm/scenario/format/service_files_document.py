"""What a container is built of, and what is put into it and kept of it: tables of ``[service.NAME]``."""

from typing import Annotated, Literal

from msgspec import Meta

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.service import (
    Artifact,
    Build,
    Copy,
    SharedVolume,
    Volume,
)
from pytest_clnrm.scenario.format.parts import (
    AbsolutePath,
    Env,
    FileMode,
    Source,
    Table,
    Text,
    VolumeName,
    env_of,
)


class BuildDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image built from a folder."""

    context: Annotated[
        Text, Meta(description="The folder, relative to the file's and below rootdir.", examples=["./app"])
    ]
    dockerfile: (
        Annotated[
            Text,
            Meta(description="Relative to the context; default: Dockerfile.", examples=["test.Dockerfile"]),
        ]
        | None
    ) = None
    target: (
        Annotated[Text, Meta(description="The stage that is built; default: the last.", examples=["runtime"])]
        | None
    ) = None
    args: Annotated[
        Env, Meta(description="Values of ARG in the Dockerfile.", examples=[{"VERSION": "2"}])
    ] = {}
    network: Annotated[
        Literal["none", "bridge"],
        Meta(description="Which network the commands of the build have.", examples=["bridge"]),
    ] = "none"

    def built(self, source: Source, at: KeyPath) -> Build:
        """Return the build."""
        return Build(
            context=source(self.context),
            dockerfile=self.dockerfile,
            target=self.target,
            args=env_of(self.args),
            network=self.network,
            at=at,
        )


class VolumeDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file or folder of the host inside the container, or a volume that services of the scenario share."""

    ONE_OF = ("source", "name")
    REMEDY = 'write source = "./folder", or name = "data" for a volume that services share'

    source: (
        Annotated[Text, Meta(description="Relative to the file's folder.", examples=["./seed"])] | None
    ) = None
    name: (
        Annotated[
            VolumeName,
            Meta(
                description="Of a volume of the scenario: empty at its start, removed at its end.",
                examples=["data"],
            ),
        ]
        | None
    ) = None
    target: Annotated[AbsolutePath, Meta(description="Where it is in the container.", examples=["/data"])]
    read_only: (
        Annotated[
            bool,
            Meta(
                description="Default: false for a `name`, true for a `source`; for false the ini option "
                "clnrm_allow_writable lists its folder.",
                examples=[False],
            ),
        ]
        | None
    ) = None

    def built(self, source: Source, at: KeyPath) -> Volume:
        """Return the volume of the host."""
        read_only = self.read_only is not False
        real = source(self.source, read_only=read_only)
        return Volume(source=real, target=self.target, read_only=read_only, at=at)

    def shared(self, name: str, at: KeyPath) -> SharedVolume:
        """Return the volume of the scenario.

        :param name: its own.
        """
        return SharedVolume(name=name, target=self.target, read_only=bool(self.read_only), at=at)


class CopyDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that is copied into the container before it starts; it belongs to root there."""

    ONE_OF = ("source", "content")
    REMEDY = 'write source = "./app.conf", or content = "..."'

    source: (
        Annotated[Text, Meta(description="Relative to the file's folder.", examples=["./app.conf"])] | None
    ) = None
    content: Annotated[str, Meta(description="Its text.", examples=["listen 8080\n"])] | None = None
    target: Annotated[
        AbsolutePath, Meta(description="The path of the file in the container.", examples=["/etc/app.conf"])
    ]
    mode: (
        Annotated[FileMode, Meta(description="Default: 0644, or 0755 for a program.", examples=["0600"])]
        | None
    ) = None

    def built(self, source: Source, at: KeyPath) -> Copy:
        """Return the file."""
        return Copy(
            source=None if self.source is None else source(self.source, read_only=True),
            content=self.content,
            target=self.target,
            mode=None if self.mode is None else int(self.mode, 8),
            at=at,
        )


class ArtifactDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files of the container that are kept beside the report when the scenario is over."""

    path: Annotated[
        AbsolutePath,
        Meta(
            description="A file, a folder with all that is in it, or a glob; ** is any number of folders.",
            examples=["/app/coverage.xml", "/var/log/*.log"],
        ),
    ]
    when: Annotated[
        Literal["always", "failure"],
        Meta(description="failure: only if the scenario has failed.", examples=["failure"]),
    ] = "always"

    def built(self, at: KeyPath) -> Artifact:
        """Return the artifact."""
        return Artifact(path=self.path, only_failed=self.when == "failure", at=at)
