"""Services that make requests of steps go to the host that runs pytest, or to the world."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine


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
        run = project.run()
        host.shutdown()
        thread.join()
    assert not asked, f"THE HOST WAS ASKED: {asked}\n{run.text}"
    elsewhere = "the host '127.0.0.1' is no service of this scenario (web); no other host is ever asked"
    first, second, third = run.failures("away")
    assert [first, second] == [elsewhere, elsewhere], run.text
    assert third.endswith("user and password do not stand in a URL, write auth = { basic = ... }")
