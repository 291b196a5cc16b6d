"""Secrets are masked in all the ways in which programs write them."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import textwrap
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clnrm.model.result import ContainerFacts, Failure, Result, StepResult
from pytest_clnrm.util.redaction import MASK, Redactor

VALUE = 'p"a ss/wörd\t+1'


@pytest.mark.parametrize(
    "written",
    [
        VALUE,
        json.dumps(VALUE),
        json.dumps(VALUE, ensure_ascii=False),
        repr(VALUE),
        quote(VALUE),
        quote(VALUE, safe=""),
        quote_plus(VALUE),
        base64.b64encode(VALUE.encode()).decode(),
        base64.urlsafe_b64encode(VALUE.encode()).decode().rstrip("="),
        json.dumps(VALUE).replace("/", "\\/"),
        json.dumps(json.dumps(VALUE)),
        "".join(f"\\u{ord(char):04x}" for char in VALUE),
        "".join(f"\\u{ord(char):04X}" for char in VALUE),
        repr(VALUE.encode())[1:],
        "".join(f"\\{byte:03o}" for byte in VALUE.encode()),
        quote(VALUE, safe="").lower(),
        "".join(f"%{byte:02x}" for byte in VALUE.encode()),
        html.escape(VALUE),
        "".join(f"&#{ord(char)};" for char in VALUE),
        VALUE.encode().hex(),
        VALUE.encode().hex().upper(),
        textwrap.fill(VALUE.encode().hex(), 8),
        textwrap.fill(base64.b64encode(VALUE.encode()).decode(), 5),
        json.dumps(textwrap.fill(base64.b64encode(VALUE.encode()).decode(), 5)),
        json.dumps(base64.b64encode(VALUE.encode()).decode()).replace("/", "\\/"),
        quote(base64.b64encode(VALUE.encode()).decode(), safe=""),
    ],
)
def test_a_secret_is_masked_as_programs_write_it(written: str) -> None:
    """As it is, in JSON, in Python, in URLs, in base64: what stands around it stays."""
    text = Redactor([VALUE]).text(f"before <{written}> after")
    assert text.startswith("before <")
    assert text.endswith("> after")
    assert MASK in text
    assert written.strip("\"'")[2:-2] not in text


@pytest.mark.parametrize("written", [shlex.quote("it's so"), r"'it'\''s so'", '"it\'s so"'])
def test_a_secret_with_a_quote_is_masked_as_shells_write_it(written: str) -> None:
    """A single quote within single quotes is written in more than one way."""
    assert Redactor(["it's so"]).text(f"<{written}>") in {"<'***'>", '<"***">'}


def test_a_secret_wrapped_at_76_columns_is_masked() -> None:
    """As programs of mail and openssl write base64."""
    secret = "-----BEGIN KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n" * 9
    shown = Redactor([secret]).text(f"<{base64.encodebytes(secret.encode()).decode()}>")
    assert re.fullmatch(r"<\*\*\*(?:o=)?\n>", shown)


@pytest.mark.parametrize(
    "written", ["hunter-2", "hunter%2d2", "hunter\\u002d2", base64.b64encode(b"hunter-2").decode()]
)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_pieces_are_masked_however_a_secret_is_written(written: str, size: int) -> None:
    """Live output is cut anywhere, within an escape too."""
    shown: list[str] = []
    stream = Redactor(["hunter-2"]).stream(shown.append)
    text = f"before {written} after & 100% \\"
    for at in range(0, len(text), size):
        stream.feed(text[at : at + size])
    stream.close()
    # What the last character shares with others in base64 is not hidden.
    assert re.sub(r"\*\*\*I=", MASK, "".join(shown)) == "before *** after & 100% \\"


def test_the_work_grows_with_the_text_alone() -> None:
    """Secrets that overlap themselves, many of them, and many cuts: the text is gone through once each."""
    text = "a" * 300_000 + "".join(f" {number:06} ..." for number in range(3000))
    redactor = Redactor(["a" * 5000, *(f"{number:06}-x" for number in range(100))])
    assert redactor.cut_text(text).startswith("*** *** ...")


@pytest.mark.parametrize("user", ["a", "ab", "abc", "abcd"])
def test_a_secret_is_masked_within_base64(user: str) -> None:
    """A password in a header of basic authentication is masked wherever it falls into base64's groups."""
    header = base64.b64encode(f"{user}:correct horse battery".encode()).decode()
    text = Redactor(["correct horse battery"]).text(header)
    assert MASK in text
    shown = text.split(MASK)
    assert all(
        b"orse" not in base64.b64decode(each + "=" * (-len(each) % 4)) for each in shown if len(each) > 4
    )


def test_the_longest_and_overlapping_secrets_are_masked() -> None:
    """Of a secret within another nothing is left, nor of two that overlap."""
    assert Redactor(["abc", "abcdef"]).text("1 abcdef 2 abc 3") == "1 *** 2 *** 3"
    assert Redactor(["hello-world", "world-secret"]).text("<hello-world-secret>") == "<***>"


def test_values_of_two_characters_are_not_hidden() -> None:
    """What is found everywhere is not masked; nothing at all is masked without secrets."""
    assert not Redactor(["1", "ab", ""])
    assert Redactor(["ab"]).text("about") == "about"
    assert Redactor(["abo"]).text("about") == "***ut"


def test_each_line_of_a_secret_is_masked() -> None:
    """A key of several lines is masked where a difference shows it line by line."""
    redactor = Redactor(["-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----\n"])
    assert redactor.text("+ MIIEvQIBADANBg\n+ fine") == "+ ***\n+ fine"


def test_more_secrets_may_come() -> None:
    """A value that a step captured is masked from then on."""
    redactor = Redactor()
    assert redactor.text("token-77") == "token-77"
    redactor.add(["token-77"])
    assert redactor.text("token-77") == MASK


@pytest.mark.parametrize(
    ("cut", "shown"),
    [
        ("'it was correct-ho...'", "'it was ***...'"),
        ("it was correct [... 17 characters left out ...]", "it was *** [... 17 characters left out ...]"),
        ("[... 900 characters left out ...]\n    horse-battery rest", None),
        ("stdout without its first 12 bytes:\n    attery\n    rest", None),
    ],
)
def test_what_a_cut_leaves_of_a_secret_is_masked(cut: str, shown: str | None) -> None:
    """Where a text was cut and says so, neither the beginning nor the end of a secret is left."""
    text = Redactor(["correct-horse-battery"]).cut_text(cut)
    if shown is None:
        assert "attery" not in text
        assert MASK in text
        assert "rest" in text
    else:
        assert text == shown


def test_the_end_of_a_log_may_begin_within_a_secret() -> None:
    """What is left of a secret at the beginning is masked there, and nowhere else."""
    redactor = Redactor(["correct-horse-battery"])
    assert redactor.end_of_text("attery\nbattery\ncorrect-horse-battery") == "***\nbattery\n***"
    assert Redactor().end_of_text("attery") == "attery"


@given(
    st.lists(st.text("ab", min_size=3, max_size=6), min_size=1, max_size=3),
    st.text("abc", max_size=40),
    st.data(),
)
def test_pieces_are_masked_as_the_whole(secrets: list[str], text: str, data: st.DataObject) -> None:
    """However a text is cut into pieces, no secret passes, and what is none is there, in order and whole."""
    redactor = Redactor(secrets)
    written: list[str] = []
    stream = redactor.stream(written.append)
    at = 0
    while at < len(text):
        size = data.draw(st.integers(1, 5))
        stream.feed(text[at : at + size])
        at += size
    stream.close()
    shown = "".join(written)
    assert not any(secret in part for secret in secrets for part in shown.split(MASK))
    assert shown.replace(MASK, "").count("c") == text.count("c")
    if not any(secret in text for secret in secrets):
        assert shown == text


def test_a_piece_is_not_held_longer_than_needed() -> None:
    """Only what may become a secret waits; the rest is written at once."""
    written: list[str] = []
    stream = Redactor(["hunter2"]).stream(written.append)
    stream.feed("password: hun")
    assert written == ["password: "]
    stream.feed("ting\n")
    assert "".join(written) == "password: hunting\n"
    stream.feed("hunter")
    stream.feed("2")
    assert "".join(written) == "password: hunting\n***"


def test_a_result_is_masked_at_any_depth() -> None:
    """All texts of a result are masked; what names the item and its outcome stays."""
    result = Result(
        nodeid="a.clnrm.toml::failed",
        name="failed",
        file="failed.toml",
        line=1,
        outcome="failed",
        steps=(StepResult(name="failed", service="s", outcome="failed", stdout="it failed", stderr="fine"),),
        failures=(Failure(message="failed it", details="+ failed"),),
        containers=(
            ContainerFacts(
                id="failed", name="n", service="s", image="failed:1", memory_bytes=1, cpus=1.0, logs="failed"
            ),
        ),
        notes=("failed",),
    )
    hidden = Redactor(["failed"]).result(result)
    assert (hidden.nodeid, hidden.outcome, hidden.steps[0].outcome) == (result.nodeid, "failed", "failed")
    assert hidden.steps[0].stdout == "it ***"
    assert hidden.failures[0] == Failure(message="*** it", details="+ ***")
    assert (hidden.containers[0].image, hidden.containers[0].logs) == ("***:1", MASK)
    assert hidden.notes == (MASK,)
    assert Redactor().result(result) is result


def test_too_many_secrets_hide_everything() -> None:
    """To look for each of them would take for ever; nothing of them is shown."""
    few = Redactor(f"secret-{number}" for number in range(3000))
    assert few.text("a secret-7 b") == "a *** b"
    many = Redactor(f"secret-{number}" for number in range(5000))
    assert many
    assert [many.text("a b"), many.cut_text("a b"), many.end_of_text("a"), many.text("")] == [
        *["***"] * 3,
        "",
    ]
    lines = Redactor()
    lines.add(["\n".join(f"line {number}" for number in range(100_000))])
    assert lines.text("a") == "***"
    written: list[str] = []
    stream = lines.stream(written.append)
    stream.feed("a line 1")
    stream.close()
    assert "".join(written) == "***"


def test_very_many_cuts_are_none() -> None:
    """A program may print as many dots as it likes: the first and the last are looked at."""
    redactor = Redactor(["correct-horse-battery"])
    text = f"corr... {'... ' * 500_000} correct-ho..."
    masked = redactor.cut_text(text)
    assert masked.startswith("***... ")
    assert masked.endswith(" ***...")
    assert masked.count("...") == text.count("...")
