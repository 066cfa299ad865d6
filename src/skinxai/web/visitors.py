"""Who may call a server: by which names, and no pages of other sites."""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

HERE = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names of this machine for itself."""


def own_hosts(address: str, allowed: Collection[str] = ()) -> frozenset[str]:
    """The names that a server answers to; none: it answers to any.

    At an address of this machine alone, requests must name it as their host: else a page elsewhere,
    whose name was made to lead here, could read the answers.

    Args:
        address: where the server listens.
        allowed: further names.
    """
    names = frozenset(name.lower() for name in allowed)
    if _is_here(address):
        return names | HERE | {address.lower()}
    return names | HERE if names else frozenset()


def _is_here(address: str) -> bool:
    """Whether an address is of this machine alone, such as ``127.0.0.2``."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() in HERE


def against(host: str, origin: str | None, hosts: Collection[str]) -> str | None:
    """A sentence where a request must not be answered, else ``None``.

    Args:
        host: of its header.
        origin: of its header.
        hosts: of `own_hosts`.
    """
    if hosts and hostname(host) not in hosts:
        return "This server answers only to its own addresses, such as localhost."
    if origin is not None and _place(origin) != host.lower():
        return "Pages of other sites must not call this server."
    return None


def hostname(host: str) -> str | None:
    """A host without its port, in small letters."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
