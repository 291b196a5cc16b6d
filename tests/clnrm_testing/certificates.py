"""Certificates for servers of tests, made by openssl: of their own authority, for any names and days."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["copy_openssl", "make_authority", "make_certificate"]


def make_authority(folder: Path) -> Path:
    """Write ``ca.pem`` and ``ca.key`` into a folder; return the former."""
    certificate, key = folder / "ca.pem", folder / "ca.key"
    about = ("-subj", "/CN=authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    made = ("-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate))
    _openssl("req", "-x509", *about, *made)
    return certificate


def make_certificate(authority: Path, name: str, hosts: Sequence[str], *, days: int) -> Path:
    """Write ``NAME.pem``, a key and its certificate, beside that of its authority; return it.

    :param days: how long it is valid; -1 if it was until yesterday.
    """
    folder = authority.parent
    key, request, pem, more = (folder / f"{name}.{each}" for each in ("key", "request", "pem", "extensions"))
    hosts_text = ",".join(f"DNS:{each}" for each in hosts)
    more.write_text(f"subjectAltName={hosts_text}\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n")
    made = ("-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(request))
    _openssl("req", "-subj", f"/CN={hosts[0]}", *made)
    signed_by = ("-CA", str(authority), "-CAkey", str(authority.with_suffix(".key")), "-CAcreateserial")
    _openssl(
        *("x509", "-req", "-in", str(request), "-days", str(days), "-extfile", str(more), "-out", str(pem)),
        *signed_by,
    )
    pem.write_text(key.read_text() + pem.read_text())
    return pem


def copy_openssl(folder: Path) -> str:
    """Copy this host's openssl, and what it is linked with, into a folder; return the name of its loader.

    ``/FOLDER/LOADER --library-path /FOLDER /FOLDER/openssl`` runs it in any container of this host.
    """
    program = shutil.which("openssl")
    assert program is not None, "servers of tests with TLS are openssl's, which is not on PATH"
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    loader = re.search(r"^\s*(/\S+) \(0x", listed, re.MULTILINE)
    assert loader is not None, listed
    for library in re.findall(r"(/\S+) \(0x", listed):
        shutil.copy(library, folder)
    shutil.copy(program, folder / "openssl")
    return Path(loader[1]).name


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
