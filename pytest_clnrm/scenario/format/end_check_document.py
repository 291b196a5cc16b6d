"""``[[check]]`` of a file or scenario, which is made after its steps."""

from typing import Annotated

from msgspec import Meta

from pytest_clnrm.model.step import Nothing, Step
from pytest_clnrm.scenario.format.check_document import CheckDoc
from pytest_clnrm.scenario.format.parts import At, Duration, Text, seconds
from pytest_clnrm.scenario.format.step_document import RetryDoc, UntilDoc, built_again


class EndCheckDoc(CheckDoc, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A check that is made after all steps, as a step of its own."""

    name: (
        Annotated[
            Text,
            Meta(
                description='Default: as in "check 1: file /etc/app.conf".', examples=["the log is written"]
            ),
        ]
        | None
    ) = None
    timeout: Annotated[Duration, Meta(description="For one attempt.", examples=["10s"])] | None = None
    retry: (
        Annotated[
            RetryDoc, Meta(description="Made again while it fails.", examples=[{"times": 3, "delay": "1s"}])
        ]
        | None
    ) = None
    until: (
        Annotated[
            UntilDoc,
            Meta(description="Made again until it holds; not with `retry`.", examples=[{"timeout": "30s"}]),
        ]
        | None
    ) = None

    def built_step(self, index: int, service: str, at: At) -> Step:
        """Return it as a step that does nothing else.

        :param index: among those of its scenario.
        """
        check = self.built(service, at)
        return Step(
            name=f"check {index + 1}: {check.title}" if self.name is None else self.name,
            service=service,
            action=Nothing(),
            retry=built_again(self.retry, self.until),
            # Each is told by itself.
            continue_on_failure=True,
            checks=(check,),
            at=at(),
            **seconds(timeout=self.timeout),
        )
