"""The url of a service: ``postgresql://{POSTGRES_USER}@{host}:{port}/``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

NAMED = re.compile(r"\{([^{}]*)\}")
PLACE = ("host", "port")


def url_of(text: str, env: Mapping[str, str]) -> str:
    """Return a url with the variables filled in that it names; {host} and {port} stay.

    What a variable holds is escaped, so that each character of a password is one of it.
    """
    return NAMED.sub(lambda name: name[0] if name[1] in PLACE else quote(env[name[1]], safe=""), text)
