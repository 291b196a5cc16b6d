"""How a cluster is reached, as the user's kubeconfig or the pod that we run in says.

An own reader, as the libraries that have one bring more than all of this package (the official client:
163 MB, and a second of each worker's start), or do not know what large clouds use (lightkube: no `exec` of
version v1).
"""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pytest_clnrm.engine.kubernetes.choice import SCHEME
from pytest_clnrm.errors import EngineUnavailableError

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_EXEC_S = 60.0
_EXPIRES_EARLY_S = 30.0
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A cluster's address, and by what it lets us in.

    :param server: ``https://host:port``, with a path where there is one.
    :param context: its name in the kubeconfig, "" for the pod's own account.
    :param token: returns the bearer token, "" if there is none; it may be another one each time.
    """

    server: str
    namespace: str
    context: str
    tls: ssl.SSLContext | None
    token: Callable[[], str]

    @property
    def url(self) -> str:
        """Return it as users would write it."""
        return f"{SCHEME}://{self.context}/{self.namespace}"


def find_access(choice: str, environ: Mapping[str, str]) -> Access:
    """Return how the cluster that *choice* names is reached.

    :param choice: ``kubernetes[://context[/namespace]]``; without a context the current one.
    :raises EngineUnavailableError: if that cannot be told, with what to do.
    """
    given = choice.removeprefix(SCHEME).removeprefix("://")
    # A context may hold slashes, as those of EKS do (arn:...:cluster/name): the namespace is behind the last.
    config, files = _kubeconfig(environ)
    if config is None:
        return _own_account(given, environ, files)
    names = {str(each.get("name")) for each in config["contexts"]}
    context, namespace = given, ""
    if given and given not in names:
        context, _, namespace = given.rpartition("/") if "/" in given else (given, "", "")
    context = context or str(config.get("current-context") or "")
    if not context:
        raise _unusable(choice, "no context is named, and the kubeconfig has no current one", names)
    if context not in names:
        raise _unusable(choice, f"the kubeconfig has no context {context!r}", names)
    about = _named(config["contexts"], context, "context")
    namespace = namespace or str(about.get("namespace") or "default")
    if not _NAMESPACE.fullmatch(namespace):
        raise _unusable(choice, f"{namespace!r} cannot be a namespace", names)
    cluster = _named(config["clusters"], str(about.get("cluster")), "cluster")
    user = _named(config["users"], str(about.get("user")), "user") if about.get("user") else {}
    server = str(cluster.get("server") or "").rstrip("/")
    if urlsplit(server).scheme not in {"http", "https"} or not urlsplit(server).hostname:
        raise _unusable(choice, f"the context's server is {server!r}, which is no address", names)
    if cluster.get("proxy-url"):
        raise _unusable(choice, "its proxy-url is not supported: set HTTPS_PROXY", names)
    return Access(
        server=server,
        namespace=namespace,
        context=context,
        tls=_tls(server, cluster, user),
        token=_token(user),
    )


def _unusable(choice: str, why: str, names: set[str]) -> EngineUnavailableError:
    known = ", ".join(sorted(names)) or "none"
    return EngineUnavailableError(
        f"--clnrm-engine {choice}: {why}",
        (f"Contexts that are known: {known}.", "Write kubernetes, or kubernetes://context/namespace."),
    )


def _kubeconfig(environ: Mapping[str, str]) -> tuple[dict[str, Any] | None, list[Path]]:
    """Return the merged content of the user's kubeconfig files, None if there is none, and where they are."""
    import yaml

    listed = environ.get("KUBECONFIG")
    home = environ.get("HOME") or str(Path.home())
    files = [Path(each) for each in (listed or f"{home}/.kube/config").split(os.pathsep) if each]
    merged: dict[str, Any] | None = None
    for file in files:
        try:
            read = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = str(error).replace("\n", " ")
            raise EngineUnavailableError(f"the kubeconfig {file} cannot be read: {reason}", ()) from None
        lists = ("clusters", "contexts", "users")
        if not isinstance(read, dict) or not all(isinstance(read.get(key) or [], list) for key in lists):
            raise EngineUnavailableError(f"{file} is no kubeconfig", ())
        merged = merged or {"clusters": [], "contexts": [], "users": []}
        # The first file that has a name wins, as with kubectl. Paths in it are beside it.
        for key in lists:
            merged[key] += [
                {**each, "_folder": file.parent} for each in read.get(key) or [] if isinstance(each, dict)
            ]
        if read.get("current-context") and "current-context" not in merged:
            merged["current-context"] = read["current-context"]
    return merged, files


def _named(of: list[dict[str, Any]], name: str, key: str) -> dict[str, Any]:
    for each in of:
        if each.get("name") == name:
            return {**(each.get(key) or {}), "_folder": each["_folder"]}
    raise EngineUnavailableError(f"the kubeconfig has no {key} {name!r}, which its context names", ())


def _own_account(given: str, environ: Mapping[str, str], files: list[Path]) -> Access:
    """Return how a pod's own account reaches its cluster."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if given.rpartition("/")[0] or not host or not (_ACCOUNT / "token").exists():
        raise EngineUnavailableError(
            "there is no kubeconfig",
            (
                f"looked for {', '.join(map(str, files))}",
                "Name it with KUBECONFIG. In a pod the account's token is used, if it is mounted.",
            ),
        )
    namespace = given.rpartition("/")[2] or (_ACCOUNT / "namespace").read_text("utf-8").strip()
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=namespace,
        context="",
        tls=ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt")),
        # It is renewed on the disk.
        token=lambda: (_ACCOUNT / "token").read_text("utf-8").strip(),
    )


def _tls(server: str, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext | None:
    if server.startswith("http:"):
        return None
    try:
        context = ssl.create_default_context(
            cafile=_path(cluster, "certificate-authority"),
            cadata=_data(cluster, "certificate-authority-data"),
        )
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        _load_client(context, user)
    except (OSError, ValueError) as error:
        raise EngineUnavailableError(
            f"the kubeconfig's certificates for {server} cannot be used: {error}", ()
        ) from None
    return context


def _load_client(context: ssl.SSLContext, user: Mapping[str, Any]) -> None:
    cert, key = _path(user, "client-certificate"), _path(user, "client-key")
    with tempfile.TemporaryDirectory(prefix="clnrm-") as folder:
        # Python reads them from files alone. The folder is this user's own.
        for name in ("certificate", "key"):
            text = _data(user, f"client-{name}-data")
            if text:
                file = Path(folder) / name
                file.write_text(text, encoding="ascii")
                cert, key = (str(file), key) if name == "certificate" else (cert, str(file))
        if cert:
            context.load_cert_chain(cert, key)


def _path(of: Mapping[str, Any], key: str) -> str | None:
    return str(Path(of["_folder"]) / str(of[key])) if of.get(key) else None


def _data(of: Mapping[str, Any], key: str) -> str | None:
    return base64.b64decode(str(of[key])).decode("ascii") if of.get(key) else None


def _token(user: Mapping[str, Any]) -> Callable[[], str]:
    if user.get("token"):
        return lambda: str(user["token"])
    if path := _path(user, "tokenFile"):
        return lambda: Path(path).read_text("utf-8").strip()
    if user.get("exec"):
        return Plugin(user["exec"], Path(user["_folder"])).token
    for key in ("auth-provider", "username"):
        if user.get(key):
            raise EngineUnavailableError(f"the kubeconfig's {key} is not supported: use a token or exec", ())
    return lambda: ""


class Plugin:
    """A command of the kubeconfig that tells the token.

    Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
    """

    def __init__(self, about: Mapping[str, Any], folder: Path) -> None:
        self._about = about
        self._folder = folder
        self._token = ""
        self._until_s = 0.0
        self._guard = threading.Lock()

    def token(self) -> str:
        """Return the token; the command is run again once it is about to expire.

        :raises EngineUnavailableError: if it tells none.
        """
        with self._guard:
            if not self._token or time.time() > self._until_s:
                self._ask()
            return self._token

    def _ask(self) -> None:
        about = self._about
        command, version = str(about.get("command")), str(about.get("apiVersion"))
        if version not in _VERSIONS:
            raise EngineUnavailableError(
                f"the kubeconfig's {command} speaks {version}, known are {', '.join(_VERSIONS)}", ()
            )
        if "/" in command:
            command = str(self._folder / command)
        given = {str(each["name"]): str(each["value"]) for each in about.get("env") or ()}
        info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
        try:
            done = subprocess.run(
                [command, *map(str, about.get("args") or ())],
                env={**os.environ, **given, "KUBERNETES_EXEC_INFO": json.dumps(info)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_EXEC_S,
                check=True,
            )
            status = json.loads(done.stdout)["status"]
            self._token = str(status["token"])
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode("utf-8", "replace").strip()[-500:]
            raise EngineUnavailableError(f"the kubeconfig's {command} failed: {said}", ()) from None
        except (OSError, ValueError, LookupError, TypeError, subprocess.TimeoutExpired) as error:
            raise EngineUnavailableError(
                f"the kubeconfig's {command} told no token: {type(error).__name__}: {error}", ()
            ) from None
        self._until_s = _moment_s(str(status.get("expirationTimestamp") or "")) - _EXPIRES_EARLY_S


def _moment_s(text: str) -> float:
    from datetime import datetime

    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return float("inf")
