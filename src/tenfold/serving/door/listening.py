"""The socket a server listens on: opened by who outlives the server, so that no connection is lost when one ends."""

import re
import socket
from collections.abc import Sequence
from ipaddress import ip_address

from tenfold.core.errors import DefinitionError, Unavailable
from tenfold.serving.connections import LOCAL as LOCAL

BACKLOG = 4_096
"""Connections that wait while no server accepts them, as far as the system allows."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address; connections wait in it until a server accepts them.

    Raises
    ------
    Unavailable
        When another process has the port.
    DefinitionError
        When the address is none of this machine.

    Examples
    --------
    >>> with listen("127.0.0.1", 0) as listening:
    ...     listening.getsockname()[0]
    '127.0.0.1'
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _no_address(host) from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(BACKLOG)
    except PermissionError as error:
        found.close()
        raise DefinitionError(
            f"port {port} is only for root. Choose one from 1024 on with --port."
        ) from error
    except OSError as error:
        found.close()
        if not is_free(host, port):
            raise Unavailable(
                f"port {port} is used by another process. Stop it, or choose another one with --port."
            ) from error
        raise _no_address(host) from error
    return found


def is_free(host: str, port: int) -> bool:
    """Return whether nobody listens on a port yet, as far as this can be told for the address.

    Examples
    --------
    >>> with listen("127.0.0.1", 0) as listening:
    ...     is_free("127.0.0.1", listening.getsockname()[1])
    False
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("::" if family == socket.AF_INET6 else "", port))
        except OSError:
            return False
    return True


def check_host(host: str, tokens: Sequence[object], names: Sequence[str] = ()) -> None:
    """Refuse an address that others than this machine reach while everybody may ask, and names that are none of a host."""
    check_names(names)
    if host not in LOCAL and not tokens:
        raise DefinitionError(
            f"everybody who reaches {host} could ask, because this home has no token. Make one first: "
            "tenfold tokens create PROJECT.py NAME --scope predict. Or serve this machine alone: --host 127.0.0.1."
        )


def check_names(names: Sequence[str]) -> None:
    """Refuse what no Host header is: nobody would be answered under it.

    Examples
    --------
    >>> check_names(["api.bank.example", "10.0.0.7", "::1"])
    """
    for name in names:
        if not _NAME.fullmatch(name) and not _is_address(name):
            raise DefinitionError(
                f'--name "{name}" is no name of a host: nobody could ask by it. Write --name api.bank.example, without scheme, '
                'port or path, once for each name; "*" does not stand for names.'
            )


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _no_address(host: str) -> DefinitionError:
    return DefinitionError(
        f'"{host}" is no address of this machine. Take --host 127.0.0.1 for this machine alone, or 0.0.0.0 for all.'
    )
