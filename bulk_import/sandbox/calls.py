"""One request on its way through the sandbox, and the log of all of them."""

from __future__ import annotations

import itertools
import re
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KEPT = 200_000
CREDENTIAL = re.compile(r"Credential=([^/\s]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request")


@dataclass(slots=True)
class Call:
    """A request and what is known of it so far. Never holds key material in a field that is logged."""

    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: str  # peer address and port: one client connection
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    access_key: str = ""
    region: str = ""
    service: str = ""
    operation: str = ""
    account: str = ""
    principal: str = ""
    key: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    status: int = 0  # 0: no answer was sent
    code: str = ""
    fault: str = ""
    served: bool = False  # the service carried it out, also if a fault changed the answer

    def read_authorization(self) -> bool:
        """Fills access key, Region and service from a SigV4 header or a signed URL; False: there is neither."""
        match = CREDENTIAL.search(self.headers.get("Authorization", ""))
        if not match and "X-Amz-Credential=" in self.path:
            text = self.path.replace("%2F", "/").replace("X-Amz-Credential=", "Credential=")
            match = CREDENTIAL.search(text)
        if not match:
            return False
        self.access_key, _, self.region, self.service = match.groups()
        return True

    def entry(self) -> dict[str, Any]:
        """What the log shows."""
        return {
            "time": self.at,
            "service": self.service,
            "operation": self.operation,
            "account": self.account,
            "principal": self.principal,
            "region": self.region,
            "key": self.key,
            "access_key": self.access_key,
            "user_agent": self.headers.get("User-Agent", ""),
            "status": self.status,
            "code": self.code,
            "fault": self.fault,
            "served": self.served,
            "request_id": self.request_id,
            "connection": self.connection,
        }


@dataclass(slots=True)
class Log:
    """The last calls, oldest first, each with its running `number`."""

    entries: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT))
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    since: float = field(default_factory=time.time)

    def note(self, call: Call) -> None:
        """A call from before the log, which a reset let go, is none of its calls."""
        if call.at < self.since:
            return
        self.entries.append({"number": next(self.numbers)} | call.entry())

    def find(self, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
        """Entries all of whose fields equal `wanted`; `after` is the number to begin behind."""
        after = int(wanted.get("after", 0))
        fields = {name: value for name, value in wanted.items() if name != "after"}
        return [
            entry
            for entry in list(self.entries)
            if entry["number"] > after and all(str(entry.get(name)) == value for name, value in fields.items())
        ]
