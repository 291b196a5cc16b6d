"""Requests of steps on a real engine: what a server gets, what its answers become, and who is never asked."""

from __future__ import annotations

import re

import pytest
from clnrm_testing.certificates import copy_openssl, make_authority, make_certificate
from clnrm_testing.elsewhere import NOWHERE, needs_namespaces
from clnrm_testing.end_to_end import EndToEnd, Run

pytestmark = pytest.mark.engine

PROGRAMS = {
    "echo": "printf 'Content-Type: text/plain\\r\\n\\r\\n'; env; cat",
    "order": """printf 'HTTP/1.1 201 Created\\r\\nLocation: /cgi-bin/echo?id=17\\r\\n'
        printf 'Content-Type: application/json\\r\\nSet-Cookie: sid=s3; Path=/\\r\\n'
        printf 'X-Twice: a\\r\\nX-Twice: b\\r\\n'
        printf '\\r\\n{"id": 17, "tags": ["a"]}'""",
    "login": "printf 'HTTP/1.1 302 Found\\r\\nLocation: over\\r\\nSet-Cookie: login=yes; Path=/\\r\\n\\r\\n'",
    "over": "printf 'HTTP/1.1 303 See Other\\r\\nLocation: http://Other:8080/cgi-bin/echo\\r\\n\\r\\n'",
    "out": "printf 'HTTP/1.1 302 Found\\r\\nLocation: http://example.org/\\r\\n\\r\\n'",
    "loop": "printf 'HTTP/1.1 302 Found\\r\\nLocation: loop\\r\\n\\r\\n'",
    "gone": "printf 'HTTP/1.1 404 Not Found\\r\\n\\r\\nnothing here'",
    "slow": "printf 'HTTP/1.1 200 OK\\r\\n\\r\\nx\\n'; while sleep 0.1; do echo x; done",
    "third": """echo x >>/tmp/count; test $(wc -l </tmp/count) -ge 3 || code=503
        printf 'HTTP/1.1 %s Status\\r\\n\\r\\n' ${code-200}""",
    "big": "printf '\\r\\n'; head -c 20000000 /dev/zero | tr '\\0' x",
    "count": "printf '\\r\\n'; wc -c",
}
"""What a server does with a request to /cgi-bin/NAME; "echo" tells what it was sent."""

SERVICES = "".join(
    f"""
    [service.{name}]
    image = "x"
    command = ["httpd", "-f", "-p", "8080", "-h", "/www"]
    volumes = [{{ source = "www", target = "/www" }}]
    ready = {{ port = 8080 }}
    """
    for name in ("api", "other")
)

RIGHT = """
[[step]]
name = "order"
http = { method = "post", url = "http://api:8080/cgi-bin/order", json = { name = "é" } }
expect.status = 201
expect.headers = { content-type = "application/json", X-Twice = "a, b", X = { exists = false } }
expect.body = { json = { id = 17 }, contains = "tags" }
capture.id = { json = "/id" }
capture.tags = { json = "/tags" }
capture.query = { header = "location", regex = '\\?(.+)' }
capture.sid = { cookie = "sid" }
capture.colour = { json = "/colour", default = "red" }
capture.nix = { header = "X-None", default = 7 }
[[step]]
name = "echo"
http = "GET http://API:8080/cgi-bin/echo?{{ query }}&{{ colour }}&{{ nix }}"
expect.body.contains = ["QUERY_STRING=id=17&red&7\\n", "HTTP_COOKIE=sid=s3\\n", "HTTP_HOST=api:8080\\n"]
expect.body.regex = '(?m)^HTTP_TRACEPARENT=00-[0-9a-f]{32}-[0-9a-f]{16}-01$'
expect.size = { gt = 100, lt = 10000 }
expect.duration.lt = "20s"
expect.redirects = 0
[[step]]
name = "typed"
[step.http]
method = "POST"
url = "http://api:8080/cgi-bin/echo"
json = { id = "{{ id }}", tags = "{{ tags }}" }
[step.expect]
body.contains = '{"id": 17, "tags": ["a"]}'
[[step]]
name = "same"
http = "POST http://api:8080/cgi-bin/order"
expect = { status = 201, body = { json = { id = "{{ id }}" }, jsonpath = { "$.id" = "{{ id }}" } } }
[[step]]
name = "form"
[step.http]
method = "POST"
url = "http://api:8080/cgi-bin/echo?a=b"
query = { a = ["c d", 1], id = "{{ id }}" }
form = { x = "1 & 2", y = ["{{ id }}", true] }
headers = { X-Own = "{{ sid }}", traceparent = "mine" }
[step.expect.body]
contains = [
    "REQUEST_METHOD=POST\\n", "QUERY_STRING=a=b&a=c+d&a=1&id=17\\n",
    "x=1+%26+2&y=17&y=true", "HTTP_X_OWN=s3\\n",
    "CONTENT_TYPE=application/x-www-form-urlencoded\\n", "HTTP_TRACEPARENT=mine\\n",
]
[[step]]
name = "parts"
[step.http]
method = "POST"
url = "http://api:8080/cgi-bin/echo"
[step.http.multipart]
a = "text"
b = { file = "www/cgi-bin/gone" }
c = { value = "{}", type = "application/json", filename = "c" }
[step.expect.body]
contains = [
    'name="a"', 'name="b"; filename="gone"', "nothing here",
    "name=\\"c\\"; filename=\\"c\\"\\r\\nContent-Type: application/json",
]
[[step]]
name = "stays"
http = { url = "http://api:8080/cgi-bin/login" }
expect = { status = "3xx", headers.Location = "over" }
capture = { next = { header = "Location" } }
[[step]]
name = "follows"
http = { method = "POST", url = "http://api:8080/cgi-bin/login", body = "x", redirects = 2 }
expect.redirects = 2
expect.body.contains = ["REQUEST_METHOD=GET\\n", "HTTP_HOST=other:8080\\n"]
expect.body.not_contains = ["HTTP_COOKIE", "CONTENT_TYPE"]
capture = { login = { cookie = "login" } }
[[step]]
name = "again"
http = "GET http://api:8080/cgi-bin/third"
retry = { times = 5 }
[[step]]
name = "sent"
http = "GET http://api:8080/cgi-bin/echo"
expect.body.contains = "{{ login }}"
[[step]]
name = "big answer"
http = "GET http://api:8080/cgi-bin/big"
expect = { size = 20000000, body.ends_with = "xxx" }
[[step]]
name = "big request"
http = { method = "POST", url = "http://other:8080/cgi-bin/count", multipart = { f = { file = "big" } } }
expect.body.regex = "^80001[0-9][0-9]$"
"""

TLS = """
[service.api]
image = "x"
aliases = ["www", "other"]
command = ["sh", "-c", '''
cd /tls/www
serve() {{ /tls/{loader} --library-path /tls /tls/openssl s_server -accept $1 -cert ../$2.pem -HTTP -quiet; }}
serve 8443 old & serve 443 api
''']
volumes = [{{ source = "tls", target = "/tls" }}]
ready = [{{ https = "/hello" }}, {{ port = 8443 }}]
"""

TLS_RIGHT = """
[[step]]
http = { url = "https://api/hello", tls = { ca = "tls/ca.pem" } }
expect.certificate = { names = ["www", "API"], days_left = { gte = 9, lte = 10 } }
expect.body.equals = "hello"
[[step]]
http = { url = "https://www/over", tls = { ca = "tls/ca.pem" }, redirects = 1 }
expect = { redirects = 1, body.equals = "hello" }
capture = { sid = { cookie = "sid" } }
[[step]]
http = { url = "https://other:8443/hello", tls = { verify = false } }
expect.body.equals = "hello"
"""

TRUSTED = 'tls = { ca = "tls/ca.pem" }'
TLS_WRONG = {
    'http = "GET https://api/hello"': "https://api: TLS: unable to get local issuer certificate",
    f'http = {{ url = "https://other/hello", {TRUSTED} }}': (
        "https://other: TLS: Hostname mismatch, certificate is not valid for 'other'."
    ),
    f'http = {{ url = "https://api:8443/hello", {TRUSTED} }}': (
        "https://api:8443: TLS: certificate has expired"
    ),
    f'http = {{ url = "https://api/hello", {TRUSTED} }}\n'
    'expect.certificate = { names = ["b"], days_left.gt = 30 }': (
        "the certificate is not valid for 'b', but for 'api', 'www'\n"
        r"the certificate is valid for (9\.9|10\.0) more days, expected more than 30"
    ),
    'http = "GET http://api:443/hello"': "http://api:443: .+",
}

LATE = """
[service.api]
image = "x"
command = ["sh", "-c", '''
until test -e /go; do sleep 0.05; done; mkdir -p /w; echo late > /w/x; exec httpd -f -p 80 -h /w
''']
[[step]]
http = "GET http://api/x"
until = { times = 2, delay = "10ms" }
continue_on_failure = true
[[step]]
service = "api"
run = "touch /go"
[[step]]
http = "GET http://api/x"
until = { timeout = "30s", delay = "20ms" }
[[step]]
kill = "api"
[[step]]
http = "GET http://api/x"
continue_on_failure = true
[[step]]
start = "api"
[[step]]
http = "GET http://api/x"
expect.body.equals = "late"
until = { timeout = "30s", delay = "20ms" }
"""

ORDER = 'http = "GET http://api:8080/cgi-bin/order"\n'
WRONG = {
    'http = "GET http://api:8080/cgi-bin/gone"': "status 404 Not Found, expected below 400",
    'http = "GET http://api:8080/cgi-bin/gone"\nexpect.status = [200, "3xx"]': (
        "status 404 Not Found, expected 200 or 3xx"
    ),
    f'{ORDER}expect.headers = {{ content-type = "a", X = "b", Location.exists = false }}': (
        "header 'content-type' does not equal 'a', got 'application/json'\n"
        "there is no header 'X'; there are: Location, Content-Type, Set-Cookie, X-Twice\n"
        "there is a header 'Location', which must not be there, got '/cgi-bin/echo?id=17'"
    ),
    'http = "GET http://api:8080/cgi-bin/order"\nexpect.body = { contains = "b", json = { id = 18 } }': (
        """body does not contain 'b', got '{"id": 17, "tags": ["a"]}'\n"""
        "body is not the expected JSON: $.id: expected 18, got 17"
    ),
    f"{ORDER}expect = {{ size = {{ lt = 5, gte = 1 }}, redirects = 1, duration.lt = 0 }}": (
        "the answer took [0-9.]+ m?s, expected less than 0 ms\n"
        "size of the answer: 25 bytes, expected at least 1 bytes and less than 5 bytes\n"
        "redirects of the answer: 0 redirects, expected exactly 1 redirects"
    ),
    f'{ORDER}capture = {{ a.cookie = "b", c.header = "D", e.regex = "f" }}': (
        "cannot capture 'a': the answer sets no cookie 'b'; it sets: sid\n"
        "cannot capture 'c': there is no header 'D'; there are: Location, Content-Type, Set-Cookie, X-Twice\n"
        "cannot capture 'e': body does not match 'f'"
    ),
    'http = "GET http://api:8081/"': "port 8081 of the service 'api': connection refused",
    'http = "GET https://api:8080/"': "https://api:8080: TLS: .+",
    'http = "GET http://api:8080/cgi-bin/slow"\ntimeout = "1s"': (
        "step '.+' timed out after 1 s: http://api:8080: no answer in time"
    ),
    'http = "GET http://api:8080/cgi-bin/slow"\ntimeout = "1s"\ncapture.s = { regex = "x", secret = true }': (
        "step '.+' timed out after 1 s: http://api:8080: no answer in time"
    ),
    'http = "GET http://api:8080/cgi-bin/gone"\ncapture.t = { regex = "nothing.*", secret = true }': (
        "status 404 Not Found, expected below 400"
    ),
    'http = { url = "http://api:8080/cgi-bin/loop", redirects = 3 }': (
        "more than 3 redirects; the next is to 'loop'"
    ),
    'http = { url = "http://api:8080/cgi-bin/out", redirects = true }': (
        "the host 'example.org' is no service of this scenario (api, other); no other host is ever asked"
    ),
}
"""Keys of a step -> what is wrong with it, a line each."""


@pytest.mark.parametrize(
    "through", [(), pytest.param(NOWHERE, marks=needs_namespaces)], ids=["reached", "over a relay"]
)
def test_requests_and_answers(project: EndToEnd, through: tuple[str, ...]) -> None:
    """All of a request arrives as the file says; each check passes, and says why where it fails."""
    project.through = through
    www = project.folder / "www" / "cgi-bin"
    www.mkdir(parents=True)
    for name, text in PROGRAMS.items():
        (www / name).write_text(f"#!/bin/sh\n{text}\n")
        (www / name).chmod(0o755)
    (project.folder / "www").chmod(0o755)
    project.write("big", "x" * 8_000_000)
    project.write("right.clnrm.toml", SERVICES + RIGHT)
    project.write("wrong.clnrm.toml", SERVICES + _steps(WRONG))
    tls = TLS.format(loader=_write_tls_server(project))
    project.write("tls.clnrm.toml", tls + TLS_RIGHT)
    project.write("mistrust.clnrm.toml", tls + _steps(TLS_WRONG))
    project.write("late.clnrm.toml", LATE)
    run = project.run(mode=("-n", "2"))
    outcomes = {"right": "passed", "wrong": "failed", "tls": "passed", "mistrust": "failed", "late": "failed"}
    assert run.outcomes() == outcomes, run.text
    _assert_failures(run, "wrong", WRONG)
    _assert_failures(run, "mistrust", TLS_WRONG)
    refused, stopped = run.failures("late")
    assert re.fullmatch(
        r"port 80 of the service 'api': connection refused \(after 2 attempts over \d\.\d s\)", refused
    )
    assert re.fullmatch(r"the service 'api' does not run any more \(.+\)", stopped)
    # What a step captures as a secret is hidden though it fails, and not shown before it is known.
    steps = run.steps("wrong")
    slow, late, hidden = (steps[f"step {number}"]["stdout"] for number in (9, 10, 11))
    assert slow.startswith("HTTP/1.1 200 OK\n\nx\n")
    assert not late
    assert hidden.endswith("\n\n***")
    order = steps["step 3"]
    assert order["service"] == "api"
    assert order["stdout"].startswith("HTTP/1.1 201 Created\nLocation: /cgi-bin/echo?id=17\n")
    assert order["stdout"].endswith('\n\n{"id": 17, "tags": ["a"]}')
    assert "sent to service 'api': GET http://api:8080/cgi-bin/gone" in run.text
    assert project.leftovers(run) == []


def _write_tls_server(project: EndToEnd) -> str:
    """Write openssl, certificates and what is served; return the name of openssl's loader."""
    folder = project.folder / "tls"
    for name, answer in {
        "hello": "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello\n",
        "over": "HTTP/1.0 302 Found\r\nLocation: https://api/hello\r\nSet-Cookie: sid=1; Secure\r\n\r\n",
    }.items():
        project.write(f"tls/www/{name}", answer)
    authority = make_authority(folder)
    make_certificate(authority, "api", ["api", "www"], days=10)
    make_certificate(authority, "old", ["api"], days=-1)
    return copy_openssl(folder)


def _steps(keys: dict[str, str]) -> str:
    return "".join(f"[[step]]\ncontinue_on_failure = true\n{each}\n" for each in keys)


def _assert_failures(run: Run, scenario: str, expected: dict[str, str]) -> None:
    steps = run.steps(scenario).values()
    for step, (keys, messages) in zip(steps, expected.items(), strict=True):
        got = [each["message"] for each in step["failures"]]
        wanted = messages.split("\n")
        assert len(got) == len(wanted), (keys, got)
        for one, other in zip(got, wanted, strict=True):
            assert one == other or re.fullmatch(other, one), f"{keys}:\n{one}"
