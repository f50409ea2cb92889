"""The `Host` of a request: there has to be one, and on a laptop it has to be this machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from serving.errors import RequestError

HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+;=%-]*(:\d*)?|\[[0-9A-Fa-f:.]+\](:\d*)?")
KNOWN = 1000  # hosts that are remembered
CLOSE = {"connection": "close"}


class Hosts:
    """Checks the header `Host`.

    A page of another site can have its own name lead to 127.0.0.1, and would then be read as if it were this server's
    ("DNS rebinding"). A server that listens on this machine alone takes the names of this machine alone.

    Args:
        listens_on: The address that the server listens on.
    """

    def __init__(self, listens_on: str) -> None:
        self._is_local = _is_loopback(listens_on)
        self.known: set[bytes] = set()

    def check(self, scope: Mapping[str, Any]) -> None:
        """Refuse a request that names no host, several, or another machine.

        Raises:
            RequestError: It does (400, or 403); the connection ends with it.
        """
        if scope.get("type") != "http":
            return
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if not hosts and scope["http_version"] == "1.0":
            return
        if len(hosts) != 1:
            raise RequestError(400, f"HTTP/1.1 needs one Host header, there are {len(hosts)}", CLOSE)
        if hosts[0] in self.known:
            return
        if not HOST.fullmatch(hosts[0]):
            raise RequestError(400, "the Host header is not a host", CLOSE)
        if self._is_local and not _is_here(hosts[0].decode().lower()):
            raise RequestError(403, "this server listens on this machine only: use localhost or 127.0.0.1 as the Host", CLOSE)
        if len(self.known) < KNOWN:
            self.known.add(hosts[0])


def _is_here(host: str) -> bool:
    name = host.partition("]")[0].strip("[") if host.startswith("[") else host.partition(":")[0]
    return name in ("", "localhost") or name.endswith(".localhost") or _is_address(name)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
