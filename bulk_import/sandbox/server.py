"""HTTP in front of the sandbox: werkzeug's threaded server with connections that stay open, and that can be cut.

werkzeug's own handler closes after each answer; clients of AWS keep theirs, and the program counts on it.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import DechunkedInput, ThreadedWSGIServer

from bulk_import.errors import UsageError
from bulk_import.sandbox.access import NOT_EVALUATED
from bulk_import.sandbox.answers import Answer, json_answer
from bulk_import.sandbox.calls import Call
from bulk_import.sandbox.control import Control
from bulk_import.sandbox.front import Dropped, Front
from bulk_import.sandbox.local_only import refusal
from bulk_import.sandbox.seed import read_seed
from bulk_import.sandbox.world import SandboxOptions, World

__all__ = ["SandboxOptions", "Server", "serve", "start", "stop"]

SERVER = "bulk-import-sandbox"  # the program recognises a sandbox by it
LARGEST_BODY = 256 * 1024 * 1024


class Handler(MotoRequestHandler):
    """One client connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def run_wsgi(self) -> None:
        """werkzeug calls this for every method."""
        refused = refusal(self.headers)  # type: ignore[arg-type]  # an email message reads like a mapping
        if refused is not None:
            self._send(json_answer({"message": refused}, 403), "", close=True)
            return
        body = self._body()
        if body is None:
            self._send(json_answer({"message": "bad Content-Length"}, 400), "", close=True)
            return
        call = Call(
            at=time.time(),
            method=self.command,
            path=self.path,
            headers=self.headers,  # type: ignore[arg-type]  # an email message reads like a mapping
            body=body,
            connection=f"{self.client_address[0]}:{self.client_address[1]}",
        )
        if self.path.startswith("/_sandbox/"):
            self._send(self.server.control.answer(self.command, self.path, body), call.request_id)
            return
        try:
            # Only this thread has the handler that moto needs to build its WSGI environment.
            self.server.building.handler = self
            answer = self.server.front.answer(call)
        except Dropped as dropped:
            self._cut(dropped.answer, call.request_id)
            return
        self._send(answer, call.request_id)

    def environ_for(self, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """The WSGI environment of this request with another body and more headers, for moto's application."""
        environ = self.make_environ()
        environ["wsgi.input"] = io.BytesIO(body)
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["CONTENT_LENGTH"] = str(len(body))
        for name, value in headers.items():
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        return environ

    def _body(self) -> bytes | None:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return DechunkedInput(self.rfile).readall()  # type: ignore[arg-type]  # werkzeug types a reader as IO
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            return None
        return self.rfile.read(int(length))

    def _send(self, answer: Answer, request_id: str, *, close: bool = False) -> None:
        if close:
            self.close_connection = True
        self.wfile.write(self._head(answer, request_id) + (b"" if self.command == "HEAD" else answer.body))

    def _head(self, answer: Answer, request_id: str) -> bytes:
        fields = [
            ("Server", SERVER),
            ("Date", formatdate(usegmt=True)),
            ("x-amzn-RequestId", request_id),
            ("Content-Type", answer.content_type),
            *answer.headers,
        ]
        if self.command != "HEAD" or not any(name.lower() == "content-length" for name, _ in answer.headers):
            fields.append(("Content-Length", str(len(answer.body))))
        if self.close_connection:
            fields.append(("Connection", "close"))
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return f"HTTP/1.1 {answer.status} {self.responses.get(answer.status, ('',))[0]}\r\n{lines}\r\n".encode(
            "latin-1"
        )

    def _cut(self, answer: Answer | None, request_id: str) -> None:
        """Sends the first half of `answer`, if there is one, and ends the connection with a TCP reset."""
        if answer is not None:
            whole = self._head(answer, request_id) + answer.body
            self.wfile.write(whole[: len(whole) - max(1, len(answer.body) // 2)])
        # Zero linger: closing sends RST. The file objects hold the socket open, so it must be shut first.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.server.cut.add(id(self.connection))

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Quiet: the log of calls is at /_sandbox/calls."""


class Server(ThreadedWSGIServer):
    """Listens on 127.0.0.1 only."""

    request_queue_size = 1024
    daemon_threads = True

    def __init__(self, options: SandboxOptions) -> None:
        self.world = World(options)
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.front = Front(self.world, self._moto)
        self.control = Control(self.world)
        self.building = threading.local()
        self.cut: set[int] = set()
        _check_port(options.port)  # werkzeug would end the process
        super().__init__("127.0.0.1", options.port, self.moto, Handler)
        if options.seed:
            self.control.folder = options.seed.parent
            self.control.plant(read_seed(options.seed))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def shutdown_request(self, request: Any) -> None:
        """A cut connection is closed without the polite shutdown, so that the client sees a reset."""
        if id(request) in self.cut:
            self.cut.discard(id(request))
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def _moto(self, call: Call, body: bytes, headers: Mapping[str, str]) -> Answer:
        """moto's own answer to `call`."""
        environ = self.building.handler.environ_for(body, headers)
        seen: list[Any] = []

        def start_response(status: str, fields: list[tuple[str, str]], _: Any = None) -> Any:
            seen.extend((status, fields))

        chunks: Iterable[bytes] = self.moto(environ, start_response)
        answer_body = b"".join(chunks)
        close = getattr(chunks, "close", None)
        if close:
            close()
        status, fields = seen
        dropped = {"server", "date", "connection", "x-amzn-requestid", "content-type", "status"}
        length = () if call.method == "HEAD" else ("content-length",)
        kept = [(name, value) for name, value in fields if name.lower() not in dropped | set(length)]
        kinds = [value for name, value in fields if name.lower() == "content-type"]
        answer = Answer(int(status.split()[0]), answer_body, kinds[0] if kinds else "application/json", kept)
        if answer.status >= 400:
            answer.code = _code(answer_body)
        return answer


def _code(body: bytes) -> str:
    try:
        return str(json.loads(body).get("__type", "")).rsplit("#", 1)[-1]
    except (ValueError, AttributeError):
        return ""


def _check_port(port: int) -> None:
    """Raises UsageError if another program listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(f"--port {port}: {error.strerror}. Use another port, or 0 for any free one.") from None


def start(options: SandboxOptions) -> Server:
    """Starts a sandbox in threads of this process. End it with stop()."""
    server = Server(options)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


def stop(server: Server) -> None:
    server.world.faults.clear()
    server.shutdown()
    server.server_close()


def serve(options: SandboxOptions) -> None:
    """Runs a sandbox until SIGINT or SIGTERM, or as its options say. The first line on stdout is its endpoint URL.

    Raises InputError for a seed file that cannot be used, UsageError if the port cannot be used.
    """
    server = start(options)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    if options.enforce_policies:
        _say_what_is_not_evaluated(server.world)
    if options.stop_with_stdin:
        threading.Thread(target=_wait_for_end_of_stdin, args=(done,), daemon=True).start()
    print(server.url, flush=True)  # noqa: T201 - the command's result
    done.wait()
    stop(server)


def _say_what_is_not_evaluated(world: World) -> None:
    lines = list(NOT_EVALUATED)
    if world.identity.caller_secret is None:
        lines.append("the caller's own signatures: the seed states no caller.secret_access_key")
    text = "".join(f"  - {line}\n" for line in lines)
    print(f"Policies are enforced. Not evaluated:\n{text}", end="", file=sys.stderr, flush=True)  # noqa: T201


def _wait_for_end_of_stdin(done: threading.Event) -> None:
    """The process that started the sandbox holds the other end of stdin: however that one ends, so does this one."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    done.set()
