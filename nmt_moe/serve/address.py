"""Where the server listens, and how its address is shown."""

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterator

from nmt_moe.common.errors import UserError
from nmt_moe.serve.settings import Settings


def listen(settings: Settings) -> socket.socket:
    """A socket that listens at the address of the settings.

    Raises:
        UserError: there is no such address, other machines could reach it without a token, its port
            is taken, or nobody may listen there.
    """
    host, port = settings.host, settings.port
    if "/" in host:
        raise UserError(f"--host {host}: give an address, not a URL, such as 127.0.0.1")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise UserError(f"--host {host}: there is no such address") from None
    if not (settings.here_only or settings.tokens):
        raise UserError(
            f"{host} can be reached from other machines: give --token-file, whose tokens "
            "their requests must bring, or --host 127.0.0.1"
        )
    try:
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} of {host} is in use: choose another --port") from None
        reason = error.strerror or error
        raise UserError(f"cannot listen at {host}, port {port}: {reason}") from None
    return listening


def shown(listening: socket.socket) -> Iterator[str]:
    """The address as a URL, and where it stands for all of this machine, its name and its own."""
    host, port = listening.getsockname()[:2]
    hosts = [host]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        hosts += [socket.gethostname(), *_outward()]
    for one in dict.fromkeys(hosts):
        yield f"http://[{one}]:{port}" if ":" in one else f"http://{one}:{port}"


def _outward() -> Iterator[str]:
    """This machine's address to others, where it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking, contextlib.suppress(OSError):
        asking.connect(("192.0.2.1", 9))  # of nobody; nothing is sent
        yield asking.getsockname()[0]
