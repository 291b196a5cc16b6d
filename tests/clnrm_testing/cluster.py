"""A small API server of the tests' own: objects, watches, logs, execs over websockets, failures on demand.

Pods run nothing but execs: the programs of ours that are asked for run on this machine. What a pod says of
itself is what :attr:`Cluster.behave` makes of it.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import platform
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from pytest_clnrm.engine.tool.program import agent, program

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
_TEXT_OR_BINARY, _CLOSE = (1, 2), 8
PRINTED_S = 1_767_225_600.0
_TYPES = {"jobs": "Job", "pods": "Pod", "services": "Service"}

Json = dict[str, Any]


def running(address: str = "10.0.0.9") -> Json:
    """Return the status of a pod that runs."""
    return {
        "phase": "Running",
        "podIP": address,
        "containerStatuses": [{"name": "main", "state": {"running": {}}}],
    }


def waiting(reason: str, message: str = "") -> Json:
    """Return the status of a pod that does not run yet."""
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"name": "main", "state": state}]}


def ended(code: int, reason: str = "Completed", message: str = "") -> Json:
    """Return the status of a pod that has ended."""
    terminated = {
        "exitCode": code,
        "reason": reason,
        "message": message,
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:00:02Z",
    }
    return {"phase": "Failed", "containerStatuses": [{"name": "main", "state": {"terminated": terminated}}]}


class Cluster:
    """An API server on this machine's loopback address.

    :ivar behave: pod -> its status when it is made.
    :ivar logs: pod's name -> what it has printed; its nth line n seconds after PRINTED_S.
    :ivar breaks: pod's name -> how the connection ends on which that is told: "early" is before the last
        chunk, "within" in the middle of one, "reset" as where a machine is gone.
    :ivar failures: answers to the next requests, by method and kind: status, reason, message.
    :ivar answers: execs go also where a pod does not say so far that it runs.
    :ivar classes: the PriorityClasses that there are.
    :ivar gone: pods that were removed, as they were last.
    :ivar denied: verb and resource of what nobody may do.
    :ivar asked: method and path of each request.
    :ivar version: of the server.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects: dict[tuple[str, str], Json] = {}
        self.behave: Callable[[Json], Json] = lambda pod: running()
        self.logs: dict[str, str] = {}
        self.breaks: dict[str, Literal["early", "within", "reset"]] = {}
        self.failures: dict[tuple[str, str], list[tuple[int, str, str]]] = {}
        self.answers = False
        self.classes = {"clnrm-high", "clnrm-normal", "clnrm-low"}
        self.gone: dict[str, Json] = {}
        self.denied: set[tuple[str, str]] = set()
        self.asked: list[tuple[str, str]] = []
        self.version = "v1.20.2"
        self.execs: list[socket.socket] = []
        self.changed = threading.Condition(threading.RLock())
        self._versions = itertools.count(1)
        self._programs: list[subprocess.Popen[bytes]] = []
        for name, content in (("agent", agent(platform.machine())), ("clnrm", program(platform.machine()))):
            (folder / name).write_bytes(content or b"")
            (folder / name).chmod(0o755)
        handler = type("Handler", (_Handler,), {"cluster": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def kubeconfig(self, **user: Any) -> Path:
        """Write a kubeconfig that leads here, and return its path."""
        file = self.folder / "kubeconfig"
        config = {
            "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": user or {"token": "sesame"}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "tests"}}],
        }
        file.write_text(json.dumps(config), encoding="utf-8")
        return file

    def of(self, kind: str) -> dict[str, Json]:
        """Return the objects of a kind by their names."""
        with self.changed:
            return {name: each for (what, name), each in self.objects.items() if what == kind}

    def set_status(self, pod: str, status: Json) -> None:
        """Let a pod say something else of itself."""
        with self.changed:
            found = self.objects["pods", pod]
            found["status"] = status
            self._touch(found)

    def add(self, kind: str, body: Json) -> Json:
        """Take an object in."""
        with self.changed:
            about = body["metadata"]
            about["uid"] = f"uid-{next(self._versions)}"
            self.objects[kind, about["name"]] = body
            if kind == "pods":
                body["status"] = self.behave(body)
            self._touch(body)
        if kind == "jobs":
            template = body["spec"]["template"]
            labels = {**template["metadata"]["labels"], "job-name": about["name"]}
            owner = {"kind": "Job", "uid": about["uid"], "name": about["name"]}
            pod = {"name": f"{about['name']}-x1", "labels": labels, "ownerReferences": [owner]}
            self.add("pods", {"metadata": pod, "spec": template["spec"]})
        return body

    def drop(self, kind: str, name: str) -> bool:
        """Remove an object, and what it owns."""
        with self.changed:
            found = self.objects.pop((kind, name), None)
            if found is not None and kind == "pods":
                self.gone[name] = found
            if found is None:
                return False
            uid = found["metadata"]["uid"]
            owned = [
                key
                for key, each in self.objects.items()
                if any(owner["uid"] == uid for owner in each["metadata"].get("ownerReferences") or ())
            ]
            self.changed.notify_all()
        for key in owned:
            self.drop(*key)
        return True

    def cut(self) -> None:
        """Break all execs, as an API server that is replaced does."""
        execs, self.execs = self.execs, []
        for each in execs:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def start_program(self, pod: str, argv: list[str]) -> subprocess.Popen[bytes]:
        """Start one of our programs as it would run in a pod."""
        journal = self.folder / f"journal-{pod}"
        journal.mkdir(exist_ok=True)
        name = argv[0].rsplit("/", 1)[-1]
        # No port of this machine is listened on for a relay.
        arguments = ["relay", "0"] if argv[1] == "relay" else [argv[1], str(journal), *argv[3:]]
        started = subprocess.Popen(
            [self.folder / name, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._programs.append(started)
        return started

    def close(self) -> None:
        self.cut()
        self._server.shutdown()
        self._server.server_close()
        for each in self._programs:
            each.kill()
            each.wait()
            for stream in (each.stdin, each.stdout):
                assert stream is not None
                with suppress(OSError):
                    stream.close()

    def _touch(self, found: Json) -> None:
        found["metadata"]["resourceVersion"] = str(next(self._versions))
        self.changed.notify_all()


def _stamp(seconds: int) -> str:
    at = datetime.fromtimestamp(PRINTED_S + seconds, tz=timezone(timedelta(hours=2)))
    return f"{at:%Y-%m-%dT%H:%M:%S}.000000001+02:00"


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (as it is called there)
        pass

    def do_GET(self) -> None:
        kind, name, below, query = self._begin()
        if not kind:
            return
        if kind == "version":
            self._answer(200, {"gitVersion": self.cluster.version, "platform": f"linux/{platform.machine()}"})
        elif below == "exec":
            self._exec(name, query)
        elif below == "log":
            self._log(name, query)
        elif query.get("watch"):
            self._watch(query)
        elif name:
            with self.cluster.changed:
                found = self.cluster.objects.get((kind, name))
                self._answer(
                    200 if found else 404, found or _refusal(404, "NotFound", f"{kind} {name} not found")
                )
        else:
            with self.cluster.changed:
                self._answer(
                    200, {"items": [each for each in self.cluster.of(kind).values() if _has(each, query)]}
                )

    def do_POST(self) -> None:
        kind, _, _, query = self._begin()
        if not kind:
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if kind == "selfsubjectaccessreviews":
            asked = body["spec"]["resourceAttributes"]
            what = "/".join(filter(None, [asked["resource"], asked.get("subresource")]))
            self._answer(201, {"status": {"allowed": (asked["verb"], what) not in self.cluster.denied}})
        elif kind == "pods" and body["spec"].get("priorityClassName") not in {None, *self.cluster.classes}:
            why = f"no PriorityClass with name {body['spec']['priorityClassName']} was found"
            self._answer(403, _refusal(403, "Forbidden", f"pods is forbidden: {why}"))
        elif "dryRun" in query:
            self._answer(201, body)
        elif (kind, body["metadata"]["name"]) in self.cluster.objects:
            self._answer(409, _refusal(409, "AlreadyExists", "it is there already"))
        else:
            self._answer(201, self.cluster.add(kind, body))

    def do_PATCH(self) -> None:
        kind, name, _, _ = self._begin()
        if not kind:
            return
        patch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.cluster.changed:
            found = self.cluster.objects.get((kind, name))
            if not found:
                self._answer(404, _refusal(404, "NotFound", "not found"))
                return
            # JSON Patch (RFC 6902), as far as it is about what stands below the spec.
            steps = [(each["op"], each["path"].removeprefix("/spec/"), each["value"]) for each in patch]
            if any(op == "test" and found["spec"][key] != value for op, key, value in steps):
                self._answer(422, _refusal(422, "Invalid", "the server rejected our request"))
                return
            found["spec"].update({key: value for op, key, value in steps if op == "replace"})
            self.cluster.changed.notify_all()
            self._answer(200, found)

    def do_DELETE(self) -> None:
        kind, name, _, _ = self._begin()
        if not kind:
            return
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.cluster.changed:
            found = self.cluster.objects.get((kind, name))
            if found and kind == "pods" and "running" in str(found["status"]):
                self.cluster.set_status(name, ended(143, "Error"))
        # As there, what is removed is told with its end first.
        threading.Timer(0.05, self.cluster.drop, (kind, name)).start()
        self._answer(200 if found else 404, found or _refusal(404, "NotFound", "not found"))

    def _begin(self) -> tuple[str, str, str, dict[str, list[str]]]:
        """Return kind, name, what is below it and the query; an empty kind if it is answered already."""
        parts = urlsplit(self.path)
        self.cluster.asked.append((self.command, parts.path))
        steps = parts.path.strip("/").split("/")
        steps = steps[steps.index("namespaces") + 2 :] if "namespaces" in steps else steps[-1:]
        kind, name, below = (*(steps or ["namespaces", "tests"]), "", "", "")[:3]
        failures = self.cluster.failures.get((self.command, kind))
        if self.headers.get("Authorization") != "Bearer sesame":
            failures = [(401, "Unauthorized", "Unauthorized")]
        if failures:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, reason, message = failures.pop(0)
            self._answer(status, _refusal(status, reason, message))
            return "", "", "", {}
        return kind, name, below, parse_qs(parts.query)

    def _answer(self, status: int, body: Json | None, data: bytes = b"") -> None:
        data = data if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _log(self, name: str, query: dict[str, list[str]]) -> None:
        printed, breaks = self.cluster.logs.get(name, ""), self.cluster.breaks.get(name)
        if query.get("timestamps") == ["true"]:
            lines = printed.splitlines(keepends=True)
            printed = "".join(f"{_stamp(number)} {line}" for number, line in enumerate(lines))
        data = printed.encode()
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        size = len(data) + (breaks == "within")
        if size:
            self.wfile.write(f"{size:x}\r\n".encode() + data + (b"\r\n" if size == len(data) else b""))
        if not breaks:
            self.wfile.write(b"0\r\n\r\n")
            return
        self.close_connection = True
        if breaks == "reset":
            # Closed without waiting for what is still to be sent or read.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _watch(self, query: dict[str, list[str]]) -> None:
        name = query["fieldSelector"][0].removeprefix("metadata.name=")
        version = query["resourceVersion"][0]
        until_s = time.monotonic() + int(query["timeoutSeconds"][0])
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while (left_s := until_s - time.monotonic()) > 0:
            with self.cluster.changed:
                found = self.cluster.objects.get(("pods", name))
                event: Json | None = None
                if found is None:
                    event = {"type": "DELETED", "object": self.cluster.gone.get(name, {})}
                elif found["metadata"]["resourceVersion"] != version:
                    version = found["metadata"]["resourceVersion"]
                    event = {"type": "MODIFIED", "object": found}
                else:
                    self.cluster.changed.wait(left_s)
                line = json.dumps(event).encode() + b"\n" if event else b""
            try:
                self.wfile.write(line)
                self.wfile.flush()
            except OSError:
                return
            if found is None:
                return

    def _exec(self, pod: str, query: dict[str, list[str]]) -> None:
        with self.cluster.changed:
            found = self.cluster.objects.get(("pods", pod))
        if found is None or not (self.cluster.answers or "running" in str(found["status"])):
            self._answer(
                404 if found is None else 500, _refusal(404 if found is None else 500, "", "no such pod runs")
            )
            return
        key = hashlib.sha1(
            self.headers["Sec-WebSocket-Key"].encode() + _MAGIC, usedforsecurity=False
        ).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(key).decode())
        self.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        self.cluster.execs.append(self.connection)
        started = self.cluster.start_program(pod, query["command"])
        out = threading.Thread(target=self._send_output, args=(started,), daemon=True)
        out.start()
        assert started.stdin is not None
        with suppress(OSError, ValueError):
            while (data := self._receive()) is not None:
                if data[:1] == b"\0":
                    started.stdin.write(data[1:])
        with suppress(OSError):
            started.stdin.close()
        out.join(10)

    def _send_output(self, started: subprocess.Popen[bytes]) -> None:
        assert started.stdout is not None
        try:
            while data := started.stdout.read(32768):
                self._send(b"\1" + data)
            self._send(b"\3" + b'{"status":"Success"}')
            self._send(b"", _CLOSE)
        except (OSError, ValueError):
            # As a container's runtime does: what it still says is nobody's.
            with suppress(OSError, ValueError):
                started.stdout.close()

    def _send(self, data: bytes, what: int = 2) -> None:
        size = len(data)
        head = (
            struct.pack(">BB", 128 | what, size) if size < 126 else struct.pack(">BBH", 128 | what, 126, size)
        )
        if size > 65535:
            head = struct.pack(">BBQ", 128 | what, 127, size)
        self.connection.sendall(head + data)

    def _receive(self) -> bytes | None:
        """Return the next message, None at the end."""
        head = self.rfile.read(2)
        if len(head) < 2:
            return None
        what, size = head[0] & 15, head[1] & 127
        if size > 125:
            size = int.from_bytes(self.rfile.read(2 if size == 126 else 8), "big")
        mask, masked = self.rfile.read(4), self.rfile.read(size)
        if what == _CLOSE or what not in _TEXT_OR_BINARY:
            return None
        return bytes(each ^ mask[at % 4] for at, each in enumerate(masked))


def _refusal(status: int, reason: str, message: str) -> Json:
    return {"kind": "Status", "code": status, "reason": reason, "message": message}


def _has(found: Mapping[str, Any], query: Mapping[str, list[str]]) -> bool:
    own = f"metadata.name={found['metadata']['name']}"
    if query.get("fieldSelector", [own]) != [own]:
        return False
    labels = found["metadata"].get("labels") or {}
    for each in filter(None, (query.get("labelSelector") or [""])[0].split(",")):
        key, given, value = each.partition("=")
        if key not in labels or (given and labels[key] != value):
            return False
    return True
