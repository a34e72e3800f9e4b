"""The way between a client and a server, on which a bit can flip: below the encryption, as on a bad cable."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

_PIECE = 16 * 2**10
_HELD = 32 * 2**10
"""Bytes that each end may have on its way here: what a client that leaves never reads was sent all the same."""


class Wire:
    """Carries every connection to the server at ``port`` of loopback; clients come to the port of ``laid``."""

    def __init__(self, port: int) -> None:
        self._server = "127.0.0.1", port
        self._flips: dict[int, int] = {}

    def flip(self, client: int, bit: int) -> None:
        """Flip one ``bit`` of what comes next for the client that the server knows by this port of its own."""
        self._flips[client] = bit

    @contextmanager
    def laid(self) -> Iterator[int]:
        """The port that leads to the server, while the block runs."""
        wire = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                wire._carry(self.request)

        with _Listener(("127.0.0.1", 0), Handler) as listener:
            thread = threading.Thread(target=listener.serve_forever, args=(0.005,), daemon=True)
            thread.start()
            try:
                yield listener.server_address[1]
            finally:
                listener.shutdown()
                thread.join()

    def _carry(self, client: socket.socket) -> None:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _HELD)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _HELD)
            server.connect(self._server)
            known_as: int = server.getsockname()[1]
            asking = threading.Thread(target=_copy, args=(client, server, bytes), daemon=True)
            asking.start()
            _copy(server, client, lambda piece: self._passed(known_as, piece))
            asking.join()

    def _passed(self, client: int, piece: bytes) -> bytes:
        bit = self._flips.pop(client, None)
        if bit is None:
            return piece
        place = bit // 8 % len(piece)
        return piece[:place] + bytes([piece[place] ^ 1 << bit % 8]) + piece[place + 1 :]


class _Listener(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A server that is gone is no news."""


def _copy(source: socket.socket, sink: socket.socket, passed: Callable[[bytes], bytes]) -> None:
    """All that comes, until one end leaves; then the other is left too."""
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            sink.sendall(passed(piece))
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
