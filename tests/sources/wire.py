"""A bad line to a real server: a TCP proxy on loopback that sends byte by byte, or loses answers."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit


class BadLine:
    """A context manager. `url`: the proxy's. Settings may be changed while it works.

    `pause`: seconds after each byte of an answer (0: none). `lose`: so many answers are lost, the next ones; `lost`
    counts them. `only`: what a request must hold to be spoilt.
    """

    def __init__(self, behind: str, *, pause: float = 0.0, lose: int = 0, only: bytes = b"") -> None:
        parts = urlsplit(behind)
        self._behind = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._done = threading.Event()
        self.pause, self.lose, self.only = pause, lose, only
        self.lost = 0
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
        with contextlib.suppress(OSError), client, socket.create_connection(self._behind, timeout=30) as server:
            while not self._done.is_set():
                request = client.recv(1 << 16)
                if not request:
                    return
                server.sendall(request)
                if not self._answer(client, server, spoilt=self.only in request):
                    return

    def _answer(self, client: socket.socket, server: socket.socket, *, spoilt: bool) -> bool:
        """One answer, as long as its head says. False: the connection ends."""
        head, answer = b"", server.recv(1 << 16)
        while b"\r\n\r\n" not in answer:
            answer += server.recv(1 << 16)
        head, _, body = answer.partition(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                       if line.startswith(b"content-length")), 0)  # fmt: skip
        while len(body) < length:
            body += server.recv(1 << 16)
        if spoilt and self.lose > 0:
            self.lose -= 1
            self.lost += 1
            return False
        whole = head + b"\r\n\r\n" + body
        if not (spoilt and self.pause):
            client.sendall(whole)
            return True
        for at in range(len(whole)):
            client.sendall(whole[at : at + 1])
            if self._done.wait(self.pause):
                return False
        return True
