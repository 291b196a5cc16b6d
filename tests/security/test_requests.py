"""Services that make requests of steps go to the host that runs pytest, to the world or to one another."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from clnrm_testing.end_to_end import EndToEnd
from clnrm_testing.http_server import ask, serving

from pytest_clnrm.model.http import HttpRequest
from pytest_clnrm.runner.cookies import service_cookies


@pytest.mark.engine
def test_a_service_that_leads_elsewhere(project: EndToEnd) -> None:
    """Neither a redirect nor a captured address makes a request go to a port of this host."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as host:
        thread = threading.Thread(target=host.serve_forever, args=(0.01,))
        thread.start()
        away = f"http://127.0.0.1:{host.server_port}"
        answer = f"HTTP/1.1 302 Found\\\\r\\\\nLocation: {away}/redirected\\\\r\\\\n\\\\r\\\\n"
        project.write(
            "away.clnrm.toml",
            f"""
            [service.web]
            image = "busybox"
            command = '''mkdir -p /w/cgi-bin; cd /w/cgi-bin
                echo '#!/bin/sh' >go; echo "printf '{answer}'" >>go; chmod +x go; exec httpd -f -p 80 -h /w'''
            ready = {{ port = 80 }}
            [[step]]
            http = {{ url = "http://web/cgi-bin/go", redirects = true }}
            continue_on_failure = true
            [[step]]
            http = "GET http://web/cgi-bin/go"
            capture.away.header = "Location"
            capture.at = {{ header = "Location", regex = "//(.*)/" }}
            [[step]]
            http = "GET {{{{ away }}}}"
            continue_on_failure = true
            [[step]]
            http = "GET http://web:80@{{{{ at }}}}/user"
            """,
        )
        project.environment.update({"http_proxy": away, "HTTP_PROXY": away, "ALL_PROXY": away})
        run = project.run()
        host.shutdown()
        thread.join()
    assert not asked, f"THE HOST WAS ASKED: {asked}\n{run.text}"
    elsewhere = "the host '127.0.0.1' is no service of this scenario (web); no other host is ever asked"
    first, second, third = run.failures("away")
    assert [first, second] == [elsewhere, elsewhere], run.text
    assert third.endswith("user and password do not stand in a URL, write auth = { basic = ... }")


def test_a_cookie_for_all_services() -> None:
    """A service cannot choose the session that another one sees."""
    cookies = service_cookies()
    with serving() as server:
        server.answers = {"/": (200, {"Set-Cookie": "session=forged; Domain=local"}, b"")}
        ask(server.port, HttpRequest(url="http://evil/"), cookies=cookies)
        ask(server.port, HttpRequest(url="http://web/"), cookies=cookies)
    sent = server.seen[1][2].get("Cookie")
    assert sent is None, f"IT WAS SENT: {sent}"


def test_a_redirect_that_asks_for_credentials() -> None:
    """Another service, or port, does not get what a request tells its own one."""
    for away in ("http://evil/x", "http://api:81/x"):
        with serving() as server:
            server.answers = {"/": (307, {"Location": away}, b"")}
            request = HttpRequest(url="http://api/", basic=("user", "hunter22"), redirects=1)
            ask(server.port, request)
        assert "Authorization" in server.seen[0][2]
        sent = server.seen[1][2].get("Authorization")
        assert sent is None, f"IT WAS SENT: {sent}"
