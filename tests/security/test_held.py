"""What never got through: escapes from templates, requests for the host's own, strangers at the receiver."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.end_to_end import HOLD, EndToEnd

from pytest_clnrm.scenario.mounts import allowed_source
from pytest_clnrm.scenario.templates.render import Renderer, TemplateError
from pytest_clnrm.telemetry.receive import server
from pytest_clnrm.telemetry.receive.inbox import Inbox
from pytest_clnrm.telemetry.receive.receiver import Receiver

SECRET = "hunter2-of-ci"  # noqa: S105 what the attacks are after


def refused(template: str) -> str:
    """Return with what message a template is refused, in a string and in a whole file."""
    environ = {"TOKEN": SECRET, "HOME": "/home/me"}
    variables = {"rows": [{"k": 1}], "table": {"a": "b"}, "name": "x"}
    messages = []
    for render in ("render_value", "render_text"):
        try:
            rendered = getattr(Renderer(variables, {}, ("HOME",), environ, "seed"), render)(template)
        except TemplateError as error:
            messages.append(str(error))
        else:
            pytest.fail(f"ESCAPED: {template} gives {rendered!r}")
    assert SECRET not in "".join(messages)
    return messages[0]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "attribute '__class__' of 'str' object is unsafe"),
        ("{{ ''['__class__'] }}", "attribute '__class__' of 'str' object is unsafe"),
        ("{{ ()['__cl' ~ 'ass__'] }}", "attribute '__class__' of 'tuple' object is unsafe"),
        ("{{ table.__class__.__base__ }}", "attribute '__class__' of 'dict' object is unsafe"),
        ("{{ uuid.__globals__ }}", "attribute '__globals__' of 'function' object is unsafe"),
        ("{{ range.__closure__ }}", "is unsafe"),
        ("{{ env.__class__.__init__.__globals__ }}", "is unsafe"),
        ("{{ env._environ }}", "is unsafe"),
        ("{{ self.__init__.__globals__ }}", "is unsafe"),
        ("{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}", "is unsafe"),
        ("{% for x in [1] %}{{ loop.__class__ }}{% endfor %}", "is unsafe"),
        ("{{ missing.__class__ }}", "is unsafe"),
        ("{{ rows | map(attribute='__class__') | first }}", "is unsafe"),
        ("{{ ([''] | groupby('__class__') | first).grouper }}", "is unsafe"),
        ("{{ [''] | sort(attribute='__class__.__name__') }}", "is unsafe"),
        ("{{ [''] | sum(attribute='__class__') }}", "is unsafe"),
        ("{{ '' | attr('__class__') }}", "No filter named 'attr'"),
        ("{{ '{0.__class__.__mro__}'.format(1) }}", "access to attribute 'format'"),
        ("{{ '{a.__class__}'.format_map({'a': 1}) }}", "access to attribute 'format_map'"),
        ("{{ 'x' | format }}", "No filter named 'format'"),
        ("{{ '%s' % uuid }}", "texts are not formatted with %"),
        ("{{ cycler('os') }}", "'cycler' is not defined"),
        ("{{ lipsum() }}", "'lipsum' is not defined"),
        ("{{ namespace().x }}", "'namespace' is not defined"),
        ("{{ __import__('os').environ }}", "'__import__' is not defined"),
        ("{{ __builtins__ }}", "'__builtins__' is not defined"),
        ("{{ open('/etc/passwd').read() }}", "'open' is not defined"),
        ("{{ eval('1') }}", "'eval' is not defined"),
        ("{{ os.environ }}", "'os' is not defined"),
        ("{{ environment.loader }}", "'environment' is not defined"),
    ],
)
def test_template_reaches_python(template: str, message: str) -> None:
    """Nothing of Python's is reached: by attributes, subscripts, filters, formats, or names."""
    assert message in refused(template)


def test_template_loads_a_file(tmp_path: Path) -> None:
    """No file is read into a template, in whatever way templates name others."""
    path = tmp_path / "secret"
    path.write_text(SECRET)
    for statement in ("import '{}' as x", "from '{}' import x", "include '{}'", "extends '{}'"):
        message = refused(f"{{% {statement.format(path)} %}}")
        assert message == "a template cannot include, import or extend other files"


@pytest.mark.parametrize(
    "template",
    [
        "{{ env.TOKEN }}",
        "{{ env['TOKEN'] }}",
        "{{ env['TO' ~ 'KEN'] }}",
        "{{ env(name='TOKEN') }}",
        "{{ env(name='TOKEN', default='') }}",
        "{{ get_env(name='TOKEN', default='') }}",
        "{{ env.TOKEN | default('') }}",
        "{% if env.TOKEN %}{% endif %}",
        "{% if env.TOKEN is defined %}{% endif %}",
    ],
)
def test_template_reads_the_environment(template: str) -> None:
    """A variable that is not listed is not read, asked for its being there, or replaced by a default."""
    assert refused(template) == "environment variable TOKEN is not listed in clnrm_env"


# As Compose, `docker run` and the engine's API call them.
KEYS = {
    "privileged": "true",
    "pid": '"host"',
    "pid_mode": '"host"',
    "ipc": '"host"',
    "ipc_mode": '"host"',
    "uts": '"host"',
    "userns_mode": '"host"',
    "cgroup": '"host"',
    "network_mode": '"host"',
    "cap_add": '["ALL"]',
    "devices": '["/dev/mem:/dev/mem"]',
    "device_cgroup_rules": '["a *:* rwm"]',
    "security_opt": '["seccomp=unconfined", "apparmor=unconfined"]',
    "group_add": '["0"]',
    "sysctls": '{ "kernel.msgmax" = "1" }',
    "runtime": '"other"',
    "volumes_from": '["x"]',
    "HostConfig": "{ Privileged = true }",
}
ASKS = "".join(f"{key} = {value}\n" for key, value in KEYS.items())
NOTHING: tuple[object, ...] = (None, [], {}, "", False, "private")


@pytest.mark.engine
def test_file_asks_for_the_host(project: EndToEnd) -> None:
    """A key that gives a container the host's own is a mistake, or not heeded and named; nothing is given."""
    step = f'[[step]]\nname = "wait"\nrun = "{HOLD}"\nservice = "box"\n'
    project.write("wild.clnrm.toml", f'[services.box]\nimage = "x"\nnetwork = "host"\n{ASKS}{step}')
    project.write("own.clnrm.toml", f'[service.box]\nimage = "x"\n{ASKS}{step}')
    seen: list[dict[str, Any]] = []

    def look(containers: Mapping[str, dict[str, Any]]) -> None:
        seen.append(containers["box"])

    ran = project.look(look, "--continue-on-collection-errors")
    (host,) = [each["HostConfig"] for each in seen]
    given = {
        name: host[name]
        for name in (
            "Privileged", "PidMode", "UTSMode", "UsernsMode", "CapAdd", "Devices", "DeviceCgroupRules",
            "DeviceRequests", "GroupAdd", "Sysctls", "VolumesFrom", "Binds",
        )
        if host.get(name) not in NOTHING
    }  # fmt: skip
    assert not given, f"GIVEN: {given}"
    assert host["SecurityOpt"] == ["no-new-privileges"], f"GIVEN: {host['SecurityOpt']}"
    assert host["IpcMode"] in {"private", "shareable"}, f"GIVEN: {host['IpcMode']}"
    assert host["NetworkMode"] != "host"
    assert host["Runtime"] != "other"
    assert 0 < host["Memory"] == host["MemorySwap"]
    assert host["NanoCpus"] > 0
    assert host["PidsLimit"] > 0
    assert seen[0]["Mounts"] == []
    _, _, unchecked = ran.text.partition("wild.clnrm.toml: not checked: ")
    assert ": service.box.cap_add[0]: ALL is all that root may do: name those that are needed" in ran.text
    for key in KEYS:
        assert key == "cap_add" or f': service.box.{key}: unknown key "{key}"' in ran.text
        assert f"services.box.{key}" in unchecked.partition(" (clnrm_strict")[0].split(", ")


def test_volume_of_the_engines_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's socket, a link to it, and folders that hold it are refused, be they allowed otherwise."""
    folder = tmp_path / "project"
    folder.mkdir()
    path = tmp_path / "engine" / "docker.sock"
    path.parent.mkdir()
    (folder / "link").symlink_to(path)
    (folder / "up").symlink_to(tmp_path)

    def allowed(source: str) -> str:
        return allowed_source(
            source,
            folder=str(folder),
            rootdir=str(folder),
            allowed=("/",),
            environ={"DOCKER_HOST": f"unix://{path}"},
        )

    monkeypatch.chdir(path.parent)  # addresses of sockets are short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)
        for source in (str(path), "link"):
            with pytest.raises(ValueError, match="a socket cannot be given to a container"):
                allowed(source)
        for source in (str(path.parent), str(tmp_path), "up"):
            with suppress(ValueError):
                pytest.fail(f"GIVEN: {allowed(source)}")
            with pytest.raises(ValueError, match=f"the engine's socket {path} lies below it"):
                allowed(source)


SPAN = {"traceId": "1" * 32, "spanId": "2" * 16, "name": "forged"}
FORGED = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]}).encode()


def head(path: str, *lines: str) -> bytes:
    """Return the head of a request with JSON."""
    return "\r\n".join(
        (f"POST {path}/v1/traces HTTP/1.1", "Host: x", "Content-Type: application/json", *lines, "", "")
    ).encode()


def answered(connection: socket.socket) -> str:
    """Return the status of the answer, "" if there is none; send no more."""
    try:
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)
    except OSError:
        return ""
    return answer.decode().partition("\r\n")[0].removeprefix("HTTP/1.1 ").partition(" ")[0]


def sent(receiver: Receiver, what: bytes, *, address: str = "127.0.0.1") -> str:
    """Send *what*, and no more; return the status of the answer, "" if there is none."""
    with socket.create_connection((address, receiver.port), timeout=10) as connection:
        connection.sendall(what)
        return answered(connection)


def test_stranger_sends_spans(receiver: Receiver, inbox: Inbox) -> None:
    """Without a token, with one that is nobody's, or whose scenario is over: 401; another's is for that."""
    over, other = receiver.open("over"), receiver.open("other")
    over.close()
    length = f"Content-Length: {len(FORGED)}"
    strangers = [
        head("", length),
        head("/t/wrong", length),
        head(f"/t/{over.token}", length),
        head("", length, f"x-clnrm-token: {over.token}"),
        head("", length, f"x-clnrm-token: {inbox.token[:-1]}"),
    ]
    for stranger in strangers:
        status = sent(receiver, stranger + FORGED)
        assert status == "401", f"TAKEN: {status} for {stranger!r}"
    assert sent(receiver, head(f"/t/{other.token}", length) + FORGED) == "200"
    assert [len(each.spans()) for each in (inbox, over, other)] == [0, 0, 1]


def test_spans_over_another_address(receiver: Receiver, inbox: Inbox) -> None:
    """Over an address that is no network's of a scenario nobody is answered, whatever the token."""
    request = head(f"/t/{inbox.token}", f"Content-Length: {len(FORGED)}") + FORGED
    before = sent(receiver, request, address="127.0.0.2")
    assert before == "", f"TAKEN: {before}"
    receiver.allow("127.0.0.2")
    assert sent(receiver, request, address="127.0.0.2") == "200"
    receiver.forbid("127.0.0.2")
    assert sent(receiver, request, address="127.0.0.2") == ""


def test_body_without_end(receiver: Receiver, inbox: Inbox) -> None:
    """A body over 20 MiB gets 413: by its declared length, in chunks, or by what it unpacks to."""
    over = (20 << 20) + 1
    bomb = gzip.compress(b"\x00" * over, mtime=0)
    assert len(bomb) < over // 500
    bodies = [
        head(f"/t/{inbox.token}", f"Content-Length: {over}"),
        head(f"/t/{inbox.token}", "Transfer-Encoding: chunked") + f"{over:x}\r\n".encode(),
        head(f"/t/{inbox.token}", f"Content-Length: {len(bomb)}", "Content-Encoding: gzip") + bomb,
    ]
    statuses = [sent(receiver, body) for body in bodies]
    assert statuses == ["413"] * 3, f"TAKEN: {statuses}"
    assert inbox.spans() == []


def test_65_connections(receiver: Receiver, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """While 64 connections are in the midst of a request, another one gets 503; later there is room again."""
    monkeypatch.setattr(server, "FULL_S", 0.05)
    request = head(f"/t/{inbox.token}", f"Content-Length: {len(FORGED)}") + FORGED
    with ExitStack() as stack:
        for _ in range(64):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", receiver.port), timeout=10)
            )
            connection.sendall(b"POST / HTTP/1.1\r\n")
        status = sent(receiver, request)
        assert status == "503", f"TAKEN: {status}"
    monkeypatch.setattr(server, "FULL_S", 10.0)
    assert sent(receiver, request) == "200"
