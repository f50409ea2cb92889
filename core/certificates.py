"""What stands between us and a server: certificate authorities and proxies."""

import ipaddress
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from core.errors import UserError

USUAL = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")  # variables that most programs know


def ca_bundle(*own: str) -> str | None:
    """Return the path of the CA bundle that the environment names, None for the usual authorities.

    Args:
        own: Variables of the service in question, which come before the usual ones.

    Raises:
        UserError: The first variable that is set names no file.
    """
    for variable in (*own, *USUAL):
        if path := os.environ.get(variable):
            if not Path(path).is_file():
                raise UserError(f"{variable} names {path}, which is no file: correct it, or unset it")
            return path
    return None


def proxies(address: str) -> dict[str, str]:
    """Return the proxy for an address by its scheme, as requests takes it; empty for this machine, a cluster's Services and NO_PROXY."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    inside = host == "localhost" or "." not in host or host.endswith((".svc", ".svc.cluster.local")) or _is_loopback(host)
    found = "" if inside or proxy_bypass(host) else getproxies().get(parts.scheme) or getproxies().get("all", "")
    return {parts.scheme: found if "://" in found else f"http://{found}"} if found else {}


def proxy(address: str) -> tuple[str | None, dict[str, str] | None]:
    """Return the proxy for an address, without its login, and the login as headers, as urllib3 takes them; None for none."""
    found = next(iter(proxies(address).values()), "")
    if not found:
        return None, None
    parts = urlsplit(found)
    login, _, server = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=server)), urllib3.make_headers(proxy_basic_auth=unquote(login)) if login else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
