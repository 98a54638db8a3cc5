"""A bad line to a real server: a TCP proxy on loopback that sends byte by byte, or loses answers."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit


class BadLine:
    """A context manager. `url`: the proxy's. Settings may be changed while it works.

    `pause`: seconds after each byte of an answer (0: none). `lose`: so many answers are lost, the next ones; `lost`
    counts them. `slow` counts the answers that are sent byte by byte. `only`: what a request must hold to be spoilt.
    """

    def __init__(self, behind: str, *, pause: float = 0.0, lose: int = 0, only: bytes = b"") -> None:
        parts = urlsplit(behind)
        self._behind = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._done = threading.Event()
        self.pause, self.lose, self.only = pause, lose, only
        self.lost = self.slow = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> BadLine:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(self._behind, timeout=60) as server:
            asked = bytearray()  # the request that the server answers now
            answering = threading.Event()

            def pass_requests() -> None:
                with contextlib.suppress(OSError):
                    while data := client.recv(1 << 16):
                        if answering.is_set():
                            asked.clear()
                            answering.clear()
                        asked.extend(data)
                        server.sendall(data)

            threading.Thread(target=pass_requests, daemon=True).start()
            while data := server.recv(1 << 16):
                answering.set()
                if not self._pass_answer(client, data, spoilt=self.only in asked):
                    client.shutdown(socket.SHUT_RDWR)
                    return

    def _pass_answer(self, client: socket.socket, data: bytes, *, spoilt: bool) -> bool:
        """False: the connection ends."""
        if spoilt and self.lose > 0:
            self.lose -= 1
            self.lost += 1
            return False
        if not (spoilt and self.pause):
            client.sendall(data)
            return True
        self.slow += 1
        for at in range(len(data)):
            client.sendall(data[at : at + 1])
            if self._done.wait(self.pause):
                return False
        return True
