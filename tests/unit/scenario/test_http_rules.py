"""Requests in scenario files: what they become, and what is told of those that could not be sent."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.http import CertificateExpect, HttpExpect, HttpRequest, Part
from pytest_clnrm.model.text import TextExpect
from pytest_clnrm.scenario.templates.binding import bind_step

SERVICES = """\
[service.api]
image = "x"
aliases = ["www"]
[service.none]
image = "x"
network = "none"
[service.job]
image = "x"
ready = { exit = 0 }
"""
KNOWN = "known: api, none, job"
GET = 'http = "GET http://api/"\n'
LINE = '(write http = "GET http://SERVICE:PORT/path", or a table with url)'


def test_every_key_reaches_the_model(project: Any) -> None:
    """A text and a table become a request; services that are asked are those of the scenario."""
    project.write("x", "a.pem")
    text = f"""{SERVICES}
[[step]]
http = "post http://WWW:81/a"
capture = {{ a = {{ header = "H", regex = "x" }}, b = {{ cookie = "c", default = 1 }} }}
[[step]]
[step.http]
url = "https://api/{{{{ a }}}}"
query = {{ q = [1, true] }}
multipart = {{ p = "t", f = {{ file = "a.pem", type = "y" }} }}
auth = {{ basic = ["u", "p"] }}
redirects = true
tls = {{ ca = "a.pem" }}
[step.expect]
status = [201, "3xx"]
duration = {{ lt = "1s" }}
size = 3
redirects = {{ lte = 2 }}
body = {{ contains = "b" }}
certificate = {{ names = "api", days_left = {{ gte = 3 }} }}
"""
    first, second = project.one(text).steps
    assert first.action == HttpRequest(method="POST", url="http://WWW:81/a", at=("step", 0, "http"))
    assert (first.service, first.templated, second.templated) == ("api", False, True)
    assert [(each.header, each.cookie, each.default) for each in first.captures] == [
        ("H", None, None),
        (None, "c", "1"),
    ]
    pem = str(project.root / "a.pem")
    at = ("step", 1, "http")
    assert second.action == HttpRequest(
        url="https://api/{{ a }}",
        query=(("q", "1"), ("q", "true")),
        parts=(
            Part(name="p", text="t", at=(*at, "multipart", "p")),
            Part(name="f", file=pem, filename="a.pem", type="y", at=(*at, "multipart", "f")),
        ),
        basic=("u", "p"),
        redirects=10,
        ca=pem,
        at=at,
    )
    below = ("step", 1, "expect")
    assert second.expect.http == HttpExpect(
        status=((201, 201), (300, 399)),
        body=TextExpect(contains=("b",), at=(*below, "body")),
        duration=(Condition(op="lt", value=1.0),),
        size=(Condition(op="eq", value=3),),
        redirects=(Condition(op="lte", value=2),),
        certificate=CertificateExpect(
            names=("api",), days_left=(Condition(op="gte", value=3),), at=(*below, "certificate")
        ),
        at=below,
    )


def test_a_method_that_is_captured(project: Any) -> None:
    """It is put in as it was captured; what is written in the file is sent in capitals."""
    text = f"{SERVICES}[[step]]\n{GET}capture = {{ verb = {{ header = 'Allow' }} }}\n[[step]]\n"
    (_, step) = project.one(text + "http = { url = 'http://api/', method = '{{ verb }}' }\n").steps
    assert bind_step(step, {"verb": "PUT"}, frozenset({"verb"})).action == HttpRequest(
        url="http://api/", method="PUT", at=("step", 1, "http")
    )
    (_, step) = project.one(text + "http = { url = 'http://api/', method = 'put' }\n").steps
    assert step.action.method == "PUT"


def test_services_that_may_be_asked_are_started(project: Any) -> None:
    """The host of a URL names a service that runs by itself; where it is not known yet, all are started."""
    text = """
[service.a]
image = "x"
[service.b]
image = "x"
[[scenario]]
name = "one"
[[scenario.step]]
http = "GET http://a/{{ path }}"
[[scenario.step]]
run = "true"
service = "a"
[[scenario]]
name = "any"
[[scenario.step]]
run = "true"
service = "b"
capture = { path = { regex = "x" }, url = { regex = "y" } }
[[scenario.step]]
http = "GET {{ url }}"
"""
    text = text.replace('"GET http://a/{{ path }}"', '"GET http://A./x"')
    one, every = project.load(text)
    assert [(each.name, each.only_steps) for each in one.services] == [("a", False)]
    assert [(each.name, each.only_steps) for each in every.services] == [("a", False), ("b", False)]
    assert [each.service for each in every.steps] == ["b", ""]


CASES = {
    'http = "http://api/"': f"http: expected a method and a URL {LINE}",
    'http = "GET api/"': f"http: is no URL that begins with http://SERVICE or https://SERVICE {LINE}",
    'http = "GET ftp://api/"': f"http: is no URL that begins with http://SERVICE or https://SERVICE {LINE}",
    'http = "GET http://ap/"': (
        f'http: the host "ap" is no service of this file; {KNOWN} (did you mean "api"?)'
    ),
    'http = "GET http://localhost:80/"': (
        f'http: the host "localhost" is no service of this file; {KNOWN} '
        "(a service is asked by its name and the port in its container: http://SERVICE:8080/)"
    ),
    'http = "GET http://[::1]:80/"': (
        f'http: the host "::1" is no service of this file; {KNOWN} '
        "(a service is asked by its name and the port in its container: http://SERVICE:8080/)"
    ),
    'http = "GET http://api:x/"': f"http: is no URL: Port could not be cast to integer value as 'x' {LINE}",
    'http = "GET http://api:0/"': "http: there is no port 0: from 1 to 65535",
    'http = "GET http://u:p@api/"': (
        'http: user and password do not stand in a URL (write auth = { basic = ["user", "password"] })'
    ),
    'http = "GET http://none/"': 'http: the service "none" has network = "none": nothing reaches it',
    'http = "GET http://job/"': (
        'http: "job" is a job (ready = { exit = ... }), which has ended by then: name another one'
    ),
    'http = { url = "http://api/", method = "G T" }': (
        "http.method: is no method: letters alone, such as GET or POST"
    ),
    'http = { url = "http://api/", headers = { A = "b\\nc" } }': (
        "http.headers.A: is no header that can be sent: one line of Latin text"
    ),
    'http = { url = "http://api/", body = "", json = 1 }': (
        "http.json: at most one of body, json, form and multipart is sent, found body, json"
    ),
    'http = { url = "http://api/", json = [nan] }': (
        "http.json: holds what JSON cannot say: a date or time, nan or inf; write it as text"
    ),
    'http = { url = "http://api/", multipart = { a = {} } }': (
        "http.multipart.a: exactly one of value or file must be given, found none"
    ),
    'http = { url = "http://api/", auth = { basic = ["u"] } }': (
        'http.auth.basic: expected user and password: basic = ["user", "password"]'
    ),
    'http = { url = "http://api/", auth = { basic = ["u:v", "p"] } }': (
        "http.auth.basic: a user with a colon cannot be told from the password"
    ),
    'http = { url = "http://api/", auth = { bearer = "t" }, headers = { authorization = "x" } }': (
        "http.auth: the header Authorization is given too: only one can be sent"
    ),
    f'{GET}run = "x"': (
        "step[0]: exactly one of run, image, http, stop, kill, start, restart, pause, unpause, disconnect, "
        "reconnect, wait or use must be given, found run and http"
    ),
    f'{GET}env = {{ A = "b" }}': (
        "env: `env` goes with run or image only, and this step has `http` (with `http` go expect, capture)"
    ),
    f"{GET}expect.exit = 0": (
        "expect.exit: `exit` goes with run, image or wait only, and this step has `http` "
        "(with `http` go status, headers, body, duration, size, sha256, redirects, certificate)"
    ),
    'run = "x"\nservice = "api"\nexpect.status = 200': (
        "expect.status: `status` goes with http only, and this step has `run` "
        "(with `run` go exit, stdout, stderr, service_ends)"
    ),
    f'{GET}capture.a = {{ regex = "x", from = "stderr" }}': (
        "capture.a.from: `from` goes with run or image only, and this step has `http` "
        "(with `http` go header, cookie)"
    ),
    f"{GET}capture.a.secret = true": (
        "capture.a: exactly one of regex, json, header or cookie must be given, found none "
        "(write regex = '...' or json = \"/pointer\")"
    ),
    f"{GET}expect.size.gte = 0": "expect.size: every number is so: this checks nothing",
    f"{GET}expect.redirects = {{ eq = 1, gt = 2 }}": "expect.redirects: no value can be eq = 1 and gt = 2",
    f"{GET}expect.size = {{}}": (
        "expect.size: this checks nothing; set at least one of eq, ne, lt, lte, gt, gte"
    ),
    f"{GET}expect.status = []": "expect.status: is empty: at least one entry is needed",
    f"{GET}expect.headers = {{}}": "expect.headers: this checks nothing: it names no header",
    f'{GET}expect.headers.A = {{ exists = false, equals = "b" }}': (
        "expect.headers.A: a header that must not be there has no value to check"
    ),
    f'{GET}expect.certificate.names = "a"': (
        "expect.certificate: there is a certificate only where the URL begins with https://"
    ),
    'http = { url = "https://api/", tls.verify = false }\nexpect.certificate.names = "a"': (
        "expect.certificate: of a certificate that is not verified nothing is known "
        '(write tls = { ca = "authority.pem" } in place of verify = false)'
    ),
}
"""Keys of a step -> what is told of them."""


@pytest.mark.parametrize("keys", CASES)
def test_a_mistake_is_told(project: Any, head: Any, keys: str) -> None:
    """Each with its place, what is allowed, and what to write."""
    (mistake,) = head(project.refuse(f"{SERVICES}[[step]]\n{keys}\n"))
    place, _, message = mistake.partition(" ")
    assert place.startswith("FILE:1")
    assert message.removeprefix("step[0].") == CASES[keys]


@pytest.mark.parametrize("key", ["tls = { ca = 'FILE' }", "multipart = { a = { file = 'FILE' } }"])
def test_files_lie_below_rootdir(project: Any, head: Any, key: str) -> None:
    """A file that a request names is judged by its real path, as the source of a volume is."""
    (project.root / "link").symlink_to("/etc/hostname")
    for file in ("/etc/hostname", "link"):
        text = f"{SERVICES}[[step]]\n[step.http]\nurl = 'https://api'\n{key.replace('FILE', file)}\n"
        (mistake,) = head(project.refuse(text))
        assert "lies outside of the project" in mistake
