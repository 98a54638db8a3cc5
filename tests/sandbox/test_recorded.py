"""The situations of recorded.yaml, played on the sandbox: code, status, message and all fields are AWS's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.sandbox.helpers import OAEP, new_material, parameters, seal, strongest
from tests.sandbox_client import Sandbox

DOCUMENT = yaml.safe_load(Path(__file__).with_name("recorded.yaml").read_text())
SITUATIONS = {name: steps for situation in DOCUMENT["situations"] for name, steps in situation.items()}
NEVER = "KEY_MATERIAL_DOES_NOT_EXPIRE"


class Play:
    """One situation: what its steps have found and made so far."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.found: dict[str, str] = {}
        self.materials: dict[str, bytes] = {}
        point = ec.generate_private_key(ec.SECP256R1()).public_key()
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        self.kept: dict[str, Any] = {
            "bytes": b"some bytes that are no ciphertext and no key",
            "other": b"other bytes",
            "4096": bytes(4096),
            "4097": bytes(4097),
            "51tags": [{"TagKey": f"k{n}", "TagValue": "v"} for n in range(51)],
            "257v": "v" * 257,
            "129k": "k" * 129,
            "p256": point.public_bytes(serialization.Encoding.DER, spki),
        }

    def client(self, step: dict[str, Any]) -> Any:
        return self.sandbox.client(region=step.get("region", "us-east-1"), parameter_validation=False)

    def step(self, step: dict[str, Any]) -> None:
        if "wait" in step:
            self.sandbox.advance(step["wait"])
            return
        client = self.client(step)
        given = self.given(client, step["with"])
        operation = re.sub(r"(?<!^)(?=[A-Z])", "_", step["call"]).lower()
        for _ in range(step.get("times", 1)):
            if "error" in step:
                with pytest.raises(ClientError) as refusal:
                    getattr(client, operation)(**given)
                self.refused(step, refusal.value.response)
            else:
                self.answered(step, getattr(client, operation)(**given))

    def given(self, client: Any, value: dict[str, Any]) -> dict[str, Any]:
        fields = {name: self.filled(field) for name, field in value.items() if not name.startswith("$")}
        if "$material" in value:
            material = self.materials.setdefault(value["$material"], new_material("SYMMETRIC_DEFAULT"))
            asked = parameters(client, fields["KeyId"], OAEP[1])
            sealed = seal(material, asked["PublicKey"], OAEP[1])
            fields |= {"ImportToken": asked["ImportToken"], "EncryptedKeyMaterial": sealed}
        return fields

    def filled(self, value: Any) -> Any:
        """`value` with what was found and kept in the places of @name and $name."""
        if isinstance(value, dict):
            return {name: self.filled(field) for name, field in value.items()}
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        if not isinstance(value, str):
            return value
        if value.startswith("$") and value[1:] in self.kept:
            return self.kept[value[1:]]
        return re.sub(r"@(\w+)", lambda match: self.found[match[1]], value)

    def answered(self, step: dict[str, Any], answer: dict[str, Any]) -> None:
        assert answer.pop("ResponseMetadata")["HTTPStatusCode"] == 200
        for path, name in step.get("keep", {}).items():
            value: Any = answer
            for part in path.split("."):
                value = value[part]
            self.kept[name] = value
        if "answer" in step:
            self.compare(step["answer"], answer, step["call"])

    def refused(self, step: dict[str, Any], response: dict[str, Any]) -> None:
        code, message = step["error"]
        error = response["Error"]
        assert (error["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, 400), error
        self.compare(message, error["Message"], step["call"])

    def compare(self, expected: Any, actual: Any, where: str) -> None:
        if expected is None:
            assert actual not in (None, "", b""), where
        elif isinstance(expected, dict):
            value = json.loads(actual) if isinstance(actual, str) else actual  # a policy is text
            assert value.keys() == expected.keys(), where
            for name, field in expected.items():
                self.compare(field, value[name], f"{where}.{name}")
        elif isinstance(expected, list):
            assert len(actual) == len(expected), (where, actual)
            for n, item in enumerate(expected):
                self.compare(item, actual[n], f"{where}.{n}")
        elif isinstance(expected, str):
            self.compare_text(expected, actual, where)
        else:
            assert actual == expected, where

    def compare_text(self, expected: str, actual: str, where: str) -> None:
        expected = re.sub(r"\$(\w+)", lambda match: str(self.kept.get(match[1], match[0])), expected)
        names: list[str] = []
        pattern = ""
        for part in re.split(r"(@\w+)", expected):
            name = part[1:]
            if not part.startswith("@"):
                pattern += re.escape(part)
            elif name in self.found:
                pattern += re.escape(self.found[name])
            else:
                names.append(name)
                pattern += r"([\w-]+)"
        match = re.fullmatch(pattern, actual)
        assert match, f"{where}: {actual!r} instead of {expected!r}"
        new = dict(zip(names, match.groups(), strict=True))
        assert not set(new.values()) & set(self.found.values()), f"{where}: what should differ is the same"
        self.found |= new

    # --- keys of every other kind
    def imported(self, kind: dict[str, Any]) -> None:
        """Made, filled, emptied: DescribeKey's fields are the same but for those of the state."""
        kms = self.sandbox.client()
        spec, usage = kind["spec"], kind["usage"]
        made = kms.create_key(Origin="EXTERNAL", KeySpec=spec, KeyUsage=usage, Description="d")["KeyMetadata"]
        arn = made["Arn"]
        empty = kind["algorithms"] | {
            "AWSAccountId": "111122223333",
            "Arn": arn,
            "CreationDate": made["CreationDate"],
            "CustomerMasterKeySpec": spec,
            "Description": "d",
            "Enabled": False,
            "KeyId": arn.rsplit("/", 1)[1],
            "KeyManager": "CUSTOMER",
            "KeySpec": spec,
            "KeyState": "PendingImport",
            "KeyUsage": usage,
            "MultiRegion": False,
            "Origin": "EXTERNAL",
        }
        assert made == kms.describe_key(KeyId=arn)["KeyMetadata"] == empty
        algorithm = strongest(spec) if spec != "ECC_NIST_P521" else "RSA_AES_KEY_WRAP_SHA_256"
        asked = parameters(kms, arn, algorithm)
        sealed = seal(new_material(spec), asked["PublicKey"], algorithm)
        fields = {"KeyId": arn, "ImportToken": asked["ImportToken"], "EncryptedKeyMaterial": sealed}
        answer = kms.import_key_material(**fields, ExpirationModel=NEVER)
        assert answer.keys() - {"ResponseMetadata"} == {"KeyId"}
        filled = empty | {"Enabled": True, "KeyState": "Enabled", "ExpirationModel": NEVER}
        assert kms.describe_key(KeyId=arn)["KeyMetadata"] == filled
        self.used(kms, arn, usage, *kind["algorithms"].values())
        kms.delete_imported_key_material(KeyId=arn)
        assert kms.describe_key(KeyId=arn)["KeyMetadata"] == empty

    def used(self, kms: Any, arn: str, usage: str, algorithms: list[str]) -> None:
        [algorithm, *_] = algorithms
        if usage == "SIGN_VERIFY":
            signed = kms.sign(KeyId=arn, Message=b"m", SigningAlgorithm=algorithm)
            assert (signed["KeyId"], signed["SigningAlgorithm"]) == (arn, algorithm)
            fields = {"KeyId": arn, "Message": b"m", "SigningAlgorithm": algorithm}
            assert kms.verify(Signature=signed["Signature"], **fields)["SignatureValid"] is True
        elif usage == "GENERATE_VERIFY_MAC":
            fields = {"KeyId": arn, "Message": b"m", "MacAlgorithm": algorithm}
            mac = kms.generate_mac(**fields)
            assert (mac["KeyId"], mac["MacAlgorithm"]) == (arn, algorithm)
            assert kms.verify_mac(Mac=mac["Mac"], **fields)["MacValid"] is True
        else:
            fields = {"KeyId": arn, "EncryptionAlgorithm": algorithm}
            blob = kms.encrypt(Plaintext=b"m", **fields)["CiphertextBlob"]
            assert kms.decrypt(CiphertextBlob=blob, **fields)["Plaintext"] == b"m"


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_answers_are_those_of_aws(sandbox: Sandbox, name: str) -> None:
    play = Play(sandbox)
    for step in SITUATIONS[name]:
        for kind in step.get("$imported", ()):
            play.imported(kind)
        if "$imported" not in step:
            play.step(step)


def test_the_comparison_sees_differences(sandbox: Sandbox) -> None:
    """A table that compares nothing would be green too."""
    play = Play(sandbox)
    play.compare({"KeyId": "key/@key", "Enabled": True}, {"KeyId": "key/1", "Enabled": True}, "")
    for expected, actual in (
        ({"KeyId": "key/@key"}, {"KeyId": "key/2"}),
        ({"KeyId": "key/@key"}, {"KeyId": "key/1", "More": 1}),
        ({"KeyId": "key/@key", "More": None}, {"KeyId": "key/1"}),
        ({"Enabled": True}, {"Enabled": False}),
        ({"Names": ["a"]}, {"Names": ["a", "b"]}),
        ("@other", "1"),
        ("text", "text."),
    ):
        with pytest.raises(AssertionError):
            play.compare(expected, actual, "")
