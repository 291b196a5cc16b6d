"""Images with PostgreSQL, Redis and a small application, made from packages of Debian 12.

No registry is asked. They keep to what the official images say of themselves: variables, ports, the volume of
the data, and PostgreSQL's set-up by a first server that listens on no TCP port. All share one file system.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["APP", "POSTGRES", "REDIS", "make_debian_images"]

BASE = "clnrm-debian:1"
POSTGRES = "clnrm-debian-postgres:1"
REDIS = "clnrm-debian-redis:1"
APP = "clnrm-debian-app:2"

PACKAGES = [
    "postgresql-15",
    "postgresql-client-15",
    "redis-server",
    "redis-tools",
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "dash",
    "coreutils",
    "util-linux",
    "sed",
    "grep",
    "hostname",
    "tzdata",
    "libacl1",
    "libatomic1",
    "libattr1",
    "libaudit1",
    "libbz2-1.0",
    "libc-bin",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libcom-err2",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "libgcrypt20",
    "libgmp10",
    "libgnutls30",
    "libhogweed6",
    "libidn2-0",
    "libnettle8",
    "libp11-kit0",
    "libtasn1-6",
    "libunistring2",
    "libgpg-error0",
    "libgssapi-krb5-2",
    "libhiredis0.14",
    "libicu72",
    "libjemalloc2",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "libldap-2.5-0",
    "liblua5.1-0",
    "liblz4-1",
    "liblzf1",
    "liblzma5",
    "libpam0g",
    "libpcre2-8-0",
    "libpq5",
    "libreadline8",
    "libsasl2-2",
    "libselinux1",
    "libssl3",
    "libstdc++6",
    "libsystemd0",
    "libtinfo6",
    "libuuid1",
    "libxml2",
    "libzstd1",
    "lua-bitop",
    "lua-cjson",
    "zlib1g",
]
USERS = "root:x:0:0::/root:/bin/sh\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\n"
GROUPS = "root:x:0:\npostgres:x:70:\n"
ENTRY_POINT = r"""#!/bin/sh
set -e
[ "$1" = postgres ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /run/postgresql
    chown postgres: "$PGDATA" /run/postgresql
    chmod 700 "$PGDATA"
    exec setpriv --reuid postgres --regid postgres --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_USER:=postgres}" "${POSTGRES_DB:=$POSTGRES_USER}"
    echo "${POSTGRES_PASSWORD:?must be set}" > /tmp/password
    initdb --username="$POSTGRES_USER" --pwfile=/tmp/password $POSTGRES_INITDB_ARGS
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl -w -o "-c listen_addresses='' -p 5432" start
    [ "$POSTGRES_DB" = postgres ] || createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
    for file in /docker-entrypoint-initdb.d/*.sql; do
        [ ! -e "$file" ] || psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -v ON_ERROR_STOP=1 -f "$file"
    done
    pg_ctl -m fast -w stop
fi
exec "$@"
"""
APPLICATION = r'''"""Orders in PostgreSQL, and a counter of them in Redis, over HTTP."""

import json
import os
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

lock = threading.Lock()
psql = subprocess.Popen(["psql", "-qtAX", os.environ["DATABASE_URL"]], stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE, text=True, bufsize=1)
place = urlsplit(os.environ["REDIS_URL"])
redis = socket.create_connection((place.hostname, place.port or 6379)).makefile("rwb")


def sql(text):
    psql.stdin.write(text + ";\n\\echo .\n")
    psql.stdin.flush()
    lines = []
    while (line := psql.stdout.readline().rstrip("\n")) != ".":
        lines.append(line)
    return lines


def ask(*words):
    parts = (b"$%d\r\n%b\r\n" % (len(word), word) for word in map(str.encode, words))
    redis.write(b"*%d\r\n" % len(words) + b"".join(parts))
    redis.flush()
    return redis.readline().rstrip().decode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with lock:
            self.answer(200, {"orders": int(sql("SELECT count(*) FROM orders")[0])})

    def do_POST(self):
        number = int(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["customer"])
        with lock:
            made = sql(f"INSERT INTO orders (customer) VALUES ({number}) RETURNING id")[0]
            self.answer(201, {"id": int(made), "count": ask("INCR", f"customer:{number}")})

    def log_message(self, *_):
        pass


ask("SELECT", place.path.strip("/") or "0")
ThreadingHTTPServer(("", 8000), Handler).serve_forever()
'''


def make_debian_images(client: APIClient) -> None:
    """Make the images that the engine lacks; the first one takes a Debian 12 with apt-get and a mirror."""
    if not client.images(BASE):
        with tempfile.TemporaryDirectory() as folder:
            _import(client, _packed(_root(Path(folder))))
    path = "ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/usr/sbin"
    _build(
        client,
        POSTGRES,
        path,
        "ENV PGDATA=/var/lib/postgresql/data LANG=C.UTF-8",
        "VOLUME /var/lib/postgresql/data",
        'ENTRYPOINT ["/entrypoint"]',
        'CMD ["postgres"]',
        "EXPOSE 5432",
        "STOPSIGNAL SIGINT",
    )
    _build(
        client,
        REDIS,
        path,
        "VOLUME /data",
        "WORKDIR /data",
        "EXPOSE 6379",
        'ENTRYPOINT ["redis-server"]',
        'CMD ["--protected-mode", "no"]',
    )
    # dpkg does it when it installs the package: each start would compile what it imports.
    compiled = 'RUN ["python3.11", "-m", "compileall", "-q", "/usr/lib/python3.11"]'
    _build(client, APP, path, compiled, "EXPOSE 8000", 'CMD ["python3.11", "/app.py"]')


def _root(folder: Path) -> Path:
    """Return a root file system below *folder*."""
    debs, root = folder / "debs", folder / "root"
    debs.mkdir()
    subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=debs, check=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for deb in sorted(debs.iterdir()):
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as data:
            subprocess.run(
                ["tar", "--keep-directory-symlink", "-x", "-C", root], stdin=data.stdout, check=True
            )
    for name in ("doc", "man", "locale", "info"):
        shutil.rmtree(root / "usr/share" / name, ignore_errors=True)
    (root / "usr/bin/sh").unlink(missing_ok=True)
    (root / "usr/bin/sh").symlink_to("dash")
    for name, text in (("etc/passwd", USERS), ("etc/group", GROUPS), ("app.py", APPLICATION)):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    (root / "entrypoint").write_text(ENTRY_POINT)
    (root / "entrypoint").chmod(0o755)
    for name in ("tmp", "root", "data", "run", "var/lib/postgresql", "docker-entrypoint-initdb.d"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    shutil.rmtree(root / "var/run", ignore_errors=True)
    (root / "var/run").symlink_to("/run")
    # Its JIT compiler stands in a package of its own that is larger than all the rest.
    sample = root / "usr/share/postgresql/15/postgresql.conf.sample"
    sample.write_text(sample.read_text() + "jit = off\nlisten_addresses = '*'\n")
    return root


def _packed(root: Path) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(root, arcname=".")
    return data.getvalue()


def _import(client: APIClient, data: bytes) -> None:
    repository, _, tag = BASE.rpartition(":")
    answer = client.import_image_from_data(data, repository=repository, tag=tag)
    client.tag(json.loads(answer.strip().splitlines()[-1])["status"], repository, tag)


def _build(client: APIClient, name: str, *lines: str) -> None:
    """Build an image from the base and these lines unless the engine has it."""
    if client.images(name):
        return
    text = "\n".join([f"FROM {BASE}", *lines, ""])
    for line in client.build(fileobj=io.BytesIO(text.encode()), tag=name, rm=True, decode=True):
        if "error" in line:
            raise RuntimeError(line["error"])
