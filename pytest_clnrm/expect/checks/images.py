"""Judging what an image says of itself, and holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pytest_clnrm.expect.conditions import missed
from pytest_clnrm.expect.text_checks import TextFault, judge_text
from pytest_clnrm.expect.texts import Output, quote, visible
from pytest_clnrm.model.check import ImageCheck
from pytest_clnrm.model.seen import ImageSeen
from pytest_clnrm.model.text import TextExpect

_MANY = 20
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:PASSWORD|PASSWD|PASSPHRASE|PASS|SECRETS?|TOKEN|CREDENTIALS?"
    r"|(?:API|ACCESS|PRIVATE|SIGNING|ENCRYPTION|SECRET)_?KEY)(?:_ID|_KEY)?$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b"
    r"|^[a-z][a-z0-9+.-]{0,30}://[^/@:]{0,200}:[^/@]{1,200}@"
)
"""Keys as OpenSSL writes them, of AWS and of GitHub, and addresses with a password."""


def judge_image(
    check: ImageCheck, seen: ImageSeen, title: str, with_set_uid: Sequence[str] = ()
) -> Iterator[TextFault]:
    """Yield why an image is something else than expected.

    :param with_set_uid: paths of its files with that bit, if the check is about them.
    """
    for key, what in (("entrypoint", "entry point"), ("cmd", "command")):
        wanted, got = getattr(check, key), getattr(seen, key)
        if wanted is not None and wanted != got:
            yield TextFault(
                f"{title} has the {what} {_argv(got)}, expected {_argv(wanted)}", "", (*check.at, key)
            )
    for key, what in (("workdir", "working folder"), ("user", "user")):
        wanted, text = getattr(check, key), getattr(seen, key)
        if wanted is not None and wanted != text:
            yield TextFault(
                f"{title} has the {what} {quote(text)}, expected {quote(wanted)}", "", (*check.at, key)
            )
    yield from _judge_texts(check, seen, title)
    yield from _judge_sets(check, seen, title)
    if wrong := missed(check.size, seen.size_bytes):
        yield TextFault(f"{title} has {seen.size_bytes} bytes, expected {wrong}", "", (*check.at, "size"))
    if wrong := missed(check.layers, seen.layers):
        yield TextFault(f"{title} has {seen.layers} layers, expected {wrong}", "", (*check.at, "layers"))
    if check.no_setuid and with_set_uid:
        shown = _listed(sorted(with_set_uid))
        yield TextFault(f"{title} has files with the set-uid bit: {shown}", "", (*check.at, "no_setuid"))
    secret = [name for name, value in sorted(seen.env.items()) if _is_secret(name, value)]
    if check.no_secrets and secret:
        message = f"{title} has variables that look like secrets: {_listed(secret)}"
        yield TextFault(message, "", (*check.at, "no_secrets"))


def _judge_texts(check: ImageCheck, seen: ImageSeen, title: str) -> Iterator[TextFault]:
    pairs: tuple[tuple[str, str, Mapping[str, bool | TextExpect], Mapping[str, str]], ...] = (
        ("env", "variable", check.env, seen.env),
        ("labels", "label", check.labels, seen.labels),
    )
    for key, what, wanted, got in pairs:
        for name, expect in wanted.items():
            at = (*check.at, key, name)
            if expect is False:
                if name in got:
                    yield TextFault(f"{title} has the {what} {name}, which it must not", "", at)
            elif name not in got:
                yield TextFault(
                    f"{title} has no {what} {name}", f"it has: {_listed(sorted(got)) or 'none'}", at
                )
            elif isinstance(expect, TextExpect):
                yield from judge_text(expect, Output(f"the {what} {name} of {title}", got[name], 0))


def _judge_sets(check: ImageCheck, seen: ImageSeen, title: str) -> Iterator[TextFault]:
    pairs = (
        ("exposed", "exposes", "port", check.exposed, check.not_exposed, seen.exposed),
        ("volumes", "declares", "volume", check.volumes, check.not_volumes, seen.volumes),
    )
    for key, does, what, wanted, refused, got in pairs:
        has = _listed(got) or "none"
        for each in wanted:
            if each not in got:
                yield TextFault(f"{title} {does} no {what} {each}, but: {has}", "", (*check.at, key))
        for each in refused:
            if each in got:
                yield TextFault(
                    f"{title} {does} the {what} {each}, which it must not", "", (*check.at, f"not_{key}")
                )


def _is_secret(name: str, value: str) -> bool:
    return bool(value and (_SECRET_NAME.search(name) or _SECRET_VALUE.search(value)))


def _argv(argv: Sequence[str]) -> str:
    return quote(list(argv)) if argv else "[]"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return ", ".join(map(visible, names[:_MANY])) + more
