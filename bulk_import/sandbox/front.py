"""The way of a request: who calls, the clock, the quota, a fault, then the service.

Order of refusal: no or bad credentials, a skewed clock, throttling, the fault, the request's form, the service.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from bulk_import.sandbox import service_quotas
from bulk_import.sandbox.access.web_identity import UNSIGNED
from bulk_import.sandbox.answers import Answer, AwsError, error_answer, json_answer, xml_answer
from bulk_import.sandbox.assuming import ASSUMING
from bulk_import.sandbox.calls import Call
from bulk_import.sandbox.identity import Principal, caller_identity
from bulk_import.sandbox.kms.backend import backend
from bulk_import.sandbox.kms.faults import Fault
from bulk_import.sandbox.kms.keys import SandboxKey
from bulk_import.sandbox.kms.naming import resolve
from bulk_import.sandbox.kms.quotas import quota_of
from bulk_import.sandbox.kms.requests import Request
from bulk_import.sandbox.kms.tags import get_resources
from bulk_import.sandbox.other_services import check_account
from bulk_import.sandbox.validation import check, operations
from bulk_import.sandbox.world import World

MotoApp = Callable[[Call, bytes, Mapping[str, str]], Answer]
SKEW = 300  # seconds that AWS allows a signature to be old or early


class Dropped(Exception):
    """The connection ends here. `answer`: of it, the first half is sent before."""

    def __init__(self, answer: Answer | None = None) -> None:
        super().__init__()
        self.answer = answer


class Front:
    """Answers requests. `moto`: hands a request, with its body and account, to moto's own server application."""

    def __init__(self, world: World, moto: MotoApp) -> None:
        self.world = world
        self.moto = moto

    def answer(self, call: Call) -> Answer:
        """Raises Dropped where a fault ends the connection."""
        try:
            answer = self._answer(call)
        except AwsError as error:
            answer = error_answer(error, call.service, call.request_id)
        except Dropped:
            self.world.log.note(call)
            raise
        except NotImplementedError as error:
            answer = error_answer(AwsError("UnknownOperationException", str(error)), call.service, call.request_id)
        except Exception:  # noqa: BLE001 - a defect of the sandbox is shown, and answered as AWS answers its own
            traceback.print_exc(file=sys.stderr)
            answer = error_answer(AwsError("InternalFailure", "sandbox", 500), call.service, call.request_id)
        call.status, call.code = answer.status, answer.code
        self.world.log.note(call)
        return answer

    def _answer(self, call: Call) -> Answer:
        if not call.read_authorization():
            return self._unsigned(call)
        self._read_operation(call)
        self._check_clock(call)
        token = call.headers.get("X-Amz-Security-Token")
        who = self.world.identity.who(call.access_key, token, call.region, call.service)
        call.account, call.principal = who.account, who.arn
        self.world.gate.check_signature(call)
        key = self._named_key(call, who)
        if call.service == "sts":
            self.world.quotas.spend(who.account, call.region, "sts")
        elif call.service == "kms":
            self.world.quotas.spend(who.account, call.region, quota_of(call.operation, _kind(key)))
            if call.operation == "ReplicateKey":
                self.world.quotas.spend(who.account, str(call.params.get("ReplicaRegion")), "CreateKey", 2)
        aliases = backend(who.account, call.region).aliases_of(key) if key and self.world.faults.rules else ()
        names = frozenset({call.key, key.id, key.arn, *aliases} if key else {call.key})
        fault = self.world.faults.choose(call.operation, who.account, call.region, names)
        if fault is None:
            return self._serve(call, who)
        call.fault = fault.effect
        return self._spoil(call, who, fault)

    def _read_operation(self, call: Call) -> None:
        target = call.headers.get("X-Amz-Target", "")
        if call.service in ("kms", "servicequotas", "tagging"):
            call.operation = target.rsplit(".", 1)[-1]
            call.params = _json(call.body)
            call.key = str(call.params.get("KeyId", ""))
        elif call.service == "sts":
            call.params = dict(parse_qsl(call.body.decode()))
            call.operation = call.params.get("Action", "")
            call.key = call.params.get("RoleArn", "")
        else:
            call.operation = target.rsplit(".", 1)[-1] or call.method
            if target:
                call.params = _json(call.body)

    def _check_clock(self, call: Call) -> None:
        sent = call.headers.get("X-Amz-Date")
        if not sent:
            return
        signed = datetime.strptime(sent, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        now = time.time() + self.world.skew
        if abs(now - signed) <= SKEW:
            return
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        if signed < now:
            edge = datetime.fromtimestamp(now - SKEW, UTC).strftime("%Y%m%dT%H%M%SZ")
            message = f"Signature expired: {sent} is now earlier than {edge} ({stamp} - 5 min.)"
        else:
            edge = datetime.fromtimestamp(now + SKEW, UTC).strftime("%Y%m%dT%H%M%SZ")
            message = f"Signature not yet current: {sent} is still later than {edge} ({stamp} + 5 min.)"
        if call.service in ("sts", "iam"):
            raise AwsError("SignatureDoesNotMatch", message, 403)
        if call.service == "s3":
            raise AwsError("RequestTimeTooSkewed", message, 403)
        raise AwsError("InvalidSignatureException", message)

    def _named_key(self, call: Call, who: Principal) -> SandboxKey | None:
        if call.service != "kms" or not call.key:
            return None
        return backend(who.account, call.region).find(call.key)

    def _spoil(self, call: Call, who: Principal, fault: Fault) -> Answer:
        """The call with `fault` in it: refused, or served and then spoilt."""
        internal = AwsError("KMSInternalException", "An internal error occurred.", 500)
        instead = {
            "error": AwsError(fault.code, fault.message, fault.status),
            "deny": _denied(call, who),
            "http500": internal,
            "drop": Dropped(),
            "hang": Dropped(),
        }
        if fault.effect in ("hang", "delay"):
            self._wait(call, fault)
        if fault.effect in instead:
            raise instead[fault.effect]
        self._turn(call, fault, fault.effect)
        try:
            answer = self._serve(call, who)
        except AwsError as error:
            answer = error_answer(error, call.service, call.request_id)
        if fault.effect == "act_then_delay":
            self._wait(call, fault)
        if fault.effect.startswith("act_then_"):
            self._turn(call, fault, fault.effect.removeprefix("act_then_"))
        if fault.effect == "malformed":
            return Answer(200, answer.body[: len(answer.body) // 2], answer.content_type, code=answer.code)
        afterwards = {"act_then_http500": internal, "act_then_drop": Dropped(), "truncate": Dropped(answer)}
        if fault.effect in afterwards:
            raise afterwards[fault.effect]
        return answer

    def _wait(self, call: Call, fault: Fault) -> None:
        """Until the fault's time has passed or its rule is removed. Raises Dropped if the sandbox was reset."""
        fault.removed.wait(fault.seconds)
        if call.at < self.world.log.since:
            raise Dropped

    def _turn(self, call: Call, fault: Fault, turn: str) -> None:
        """What happens to the world while a call is on its way."""
        if turn == "advance":
            self.world.age(fault.seconds)
        elif turn == "revoke":
            self.world.identity.revoke(call.account)
        elif turn == "expire":
            self.world.identity.expire(call.account)
        elif turn == "become":
            key = backend(call.account, call.region).find(call.key)
            if key is not None:
                with self.world.kms.lock:
                    key.become(fault.state)

    def _serve(self, call: Call, who: Principal) -> Answer:
        answer = self._served(call, who)
        call.served = answer.status < 300
        return answer

    def _served(self, call: Call, who: Principal) -> Answer:
        if call.service == "sts":
            return self._sts(call, who)
        self.world.gate.check_other(call, who)
        if call.service == "servicequotas":
            return json_answer(
                service_quotas.answer(call.operation, call.params, who.account, call.region, self.world.quotas)
            )
        if call.service == "kms":
            return self._kms(call, who)
        if call.service == "tagging":
            return self._tagging(call, who)
        check_account(call, who)
        return self.moto(call, call.body, {"x-moto-account-id": who.account})

    def _unsigned(self, call: Call) -> Answer:
        """The requests to STS that no one signs; their Region is the global endpoint's."""
        given = dict(parse_qsl(call.body.decode(errors="replace")))
        if "Action" in given:
            call.service, call.region = "sts", "us-east-1"
        if given.get("Action") not in UNSIGNED:
            raise AwsError("MissingAuthenticationToken", "Missing Authentication Token", 403)
        self._read_operation(call)
        fault = self.world.faults.choose(call.operation, "", call.region, frozenset({call.key}))
        nobody = Principal("", "anonymous", "")
        if fault is None:
            return self._sts(call, nobody)
        call.fault = fault.effect
        return self._spoil(call, nobody, fault)

    def _sts(self, call: Call, who: Principal) -> Answer:
        if call.operation == "GetCallerIdentity":
            return xml_answer(call.operation, caller_identity(who), call.request_id)
        if call.operation in ASSUMING:
            return xml_answer(call.operation, ASSUMING[call.operation](self.world, call, who), call.request_id)
        return self.moto(call, call.body, {"x-moto-account-id": who.account})

    def _kms(self, call: Call, who: Principal) -> Answer:
        if call.operation not in operations("kms"):
            raise AwsError("UnknownOperationException")
        kms = self.world.kms
        request = Request(
            call.operation,
            check("kms", call.operation, call.params),
            who,
            backend(who.account, call.region),
            at=self.world.lag.draw(self.world.clock.now()),
        )
        request.is_principal = self.world.gate.is_principal(request)
        if "KeyId" in request.params:
            request.named = resolve(request, request.params["KeyId"])
            call.key = request.named.arn
        self.world.gate.check_kms(call, request)
        with nullcontext() if call.operation in kms.LOCK_THEMSELVES else kms.lock:
            result = kms.answer(request, call.request_id)
        return json_answer(result) if result is not None else Answer(200, b"")

    def _tagging(self, call: Call, who: Principal) -> Answer:
        """GetResources of KMS keys; of anything else it is moto's."""
        kinds = call.params.get("ResourceTypeFilters", [])
        if call.operation != "GetResources" or not kinds or not all(kind.startswith("kms") for kind in kinds):
            return self.moto(call, call.body, {"x-moto-account-id": who.account})
        keys = backend(who.account, call.region).live()
        return json_answer(get_resources(keys, call.params, self.world.lag.draw(self.world.clock.now())))


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise AwsError("SerializationException", "could not parse the request body")
    return value


def _kind(key: SandboxKey | None) -> str:
    return key.spec.quota if key else "symmetric"


def _denied(call: Call, who: Principal) -> AwsError:
    action = f"{call.service}:{call.operation}"
    message = f"User: {who.arn} is not authorized to perform: {action} on resource: {call.key or '*'}"
    if call.service == "kms":
        return AwsError(
            "AccessDeniedException", f"{message} because no identity-based policy allows the {action} action"
        )
    return AwsError("AccessDenied", message, 403)
