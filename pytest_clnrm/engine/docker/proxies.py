"""The proxy settings that Docker's own command would put into a container, without breaking local names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LOCAL = ("localhost", "127.0.0.1")


def proxy_environment(
    settings: Mapping[str, Any], url: str, env: Mapping[str, str], direct: Sequence[str]
) -> dict[str, str]:
    """Return the variables to be set on top of *env*, which always wins.

    :param settings: content of Docker's ``config.json``.
    :param url: the engine's address: ``proxies`` may hold an entry for it besides ``default``.
    :param env: the container's own variables.
    :param direct: names to be reached without a proxy.
    """
    proxies = settings.get("proxies")
    chosen = (proxies.get(url) or proxies.get("default")) if isinstance(proxies, Mapping) else None
    chosen = chosen if isinstance(chosen, Mapping) else {}
    found: dict[str, str] = {}
    for key, name in (("httpProxy", "http_proxy"), ("httpsProxy", "https_proxy"), ("ftpProxy", "ftp_proxy")):
        if value := chosen.get(key):
            found[name] = found[name.upper()] = str(value)
    proxied = found or {each for each in env if each.lower() in {"http_proxy", "https_proxy", "all_proxy"}}
    if proxied:
        names = [each for each in str(chosen.get("noProxy") or "").split(",") if each]
        names += [each for each in (*_LOCAL, *direct) if each not in names]
        found["no_proxy"] = found["NO_PROXY"] = ",".join(names)
    # A user who sets one spelling means both: ours in the other one would win in some programs.
    own = {each.lower() for each in env}
    return {name: value for name, value in found.items() if name.lower() not in own}
