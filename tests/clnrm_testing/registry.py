"""A registry on 127.0.0.1 that speaks enough of the distribution protocol for real pulls.

Engines talk plain HTTP to loopback addresses. ``/v2/<name>/``: any name is a tiny image; ``limited``,
``private``, ``forbidden`` and ``unknown`` answer 429, 401, 403 and 404.
Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Registry", "serve_registry"]

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
REFUSALS = {
    "limited": (429, "TOOMANYREQUESTS", "You have reached your pull rate limit."),
    "private": (401, "UNAUTHORIZED", "authentication required"),
    "forbidden": (403, "DENIED", "requested access to the resource is denied"),
    "unknown": (404, "MANIFEST_UNKNOWN", "manifest unknown"),
}


def digest(data: bytes) -> str:
    """Return the name of a blob."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Registry:
    """What the registry holds and was asked.

    :param address: ``host:port``.
    """

    def __init__(self, content: bytes) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo("hello")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        layer = gzip.compress(buffer.getvalue(), mtime=0)
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {
                    "Entrypoint": ["/entry"],
                    "Cmd": ["-x"],
                    "Volumes": {"/data": {}},
                    "Healthcheck": {"Test": ["CMD", "/check"]},
                },
                "rootfs": {"type": "layers", "diff_ids": [digest(buffer.getvalue())]},
            }
        ).encode()
        kinds = (
            ("application/vnd.docker.container.image.v1+json", config),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", layer),
        )
        described = [{"mediaType": kind, "size": len(data), "digest": digest(data)} for kind, data in kinds]
        self.manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
        ).encode()
        self.blobs = {digest(config): config, digest(layer): layer}
        self.asked: list[str] = []
        self.address = ""


@contextmanager
def serve_registry(content: bytes) -> Iterator[Registry]:
    """Serve a registry whose image has one layer with *content*; different content is a different image."""
    registry = Registry(content)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Engines try TLS first: to be taken for plain HTTP, what answers that has to say so.
        default_request_version = "HTTP/1.1"

        def do_GET(self) -> None:
            registry.asked.append(f"{self.command} {self.path}")
            parts = self.path.split("/")
            if self.path == "/v2/":
                self.answer(200, b"{}")
            elif parts[2] in REFUSALS:
                status, code, message = REFUSALS[parts[2]]
                body: Any = {"errors": [{"code": code, "message": message}]}
                self.answer(status, json.dumps(body).encode())
            elif parts[-2] == "manifests":
                self.answer(200, registry.manifest, MANIFEST)
            else:
                self.answer(200, registry.blobs[parts[-1]], "application/octet-stream")

        do_HEAD = do_GET  # noqa: N815 -- the base class's way of naming

        def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.send_header("Docker-Content-Digest", digest(body))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        registry.address = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
