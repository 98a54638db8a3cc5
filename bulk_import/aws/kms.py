"""The KMS port: every call takes its permit, is counted, and its errors become ours.

API: https://docs.aws.amazon.com/kms/latest/APIReference/Welcome.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bulk_import.aws.answers import endless, key_view, made_key, texts, whole
from bulk_import.aws.calls import MOST_LISTED, LaneCalls
from bulk_import.errors import ServiceError
from bulk_import.family import PERMITS_OF_A_REPLICA
from bulk_import.model import AmongSeveral, ImportParameters, KeyRotation, KeyView, NewKey, NewReplica
from bulk_import.ports import Trace

MOST_PAGES = 20  # of 1,000 rotations each, far above KMS's quota of rotations per key

_TEXTS = (
    "KeyId", "KeyMaterialId", "KeyMaterialState", "ImportState", "ExpirationModel", "KeyMaterialDescription",
    "RotationType",
)  # fmt: skip


class LaneKms(LaneCalls):
    """KMS as one lane sees it; implements ports.KeyService."""

    async def describe_key(self, key_id: str, trace: Trace, *, at_once: bool = False) -> KeyView:
        retry = self._at_once if at_once else self._retry
        answer = await self._read("DescribeKey", trace, {"KeyId": key_id}, "KeyMetadata", retry=retry)
        if not answer["KeyMetadata"].get("Arn"):  # without it nothing shows whose key this is
            raise ServiceError("The response names no key.", code="MalformedAnswer", operation="DescribeKey")
        return key_view(answer["KeyMetadata"])

    async def list_key_rotations(self, key_id: str, trace: Trace) -> list[KeyRotation]:
        rotations: list[KeyRotation] = []
        request: dict[str, Any] = {"KeyId": key_id, "IncludeKeyMaterial": "ALL_KEY_MATERIAL", "Limit": 1000}
        for _ in range(MOST_PAGES):
            answer = await self._read("ListKeyRotations", trace, request, "Rotations")
            for entry in answer["Rotations"]:
                texts("ListKeyRotations", entry, *_TEXTS)
                whole("ListKeyRotations", entry, "KeyId")  # without it nobody knows whose material this is
            rotations += [
                KeyRotation(
                    key_material_id=entry.get("KeyMaterialId", ""),
                    key_material_state=entry.get("KeyMaterialState", ""),
                    import_state=entry.get("ImportState"),
                    expiration_model=entry.get("ExpirationModel"),
                    valid_to=entry.get("ValidTo"),
                    description=entry.get("KeyMaterialDescription") or None,
                    rotation_date=entry.get("RotationDate"),
                    rotation_type=entry.get("RotationType"),
                )
                for entry in answer["Rotations"]
            ]
            if len({one.key_material_id for one in rotations}) < len(rotations):
                message = "It lists one key material twice."
                raise ServiceError(message, code="MalformedAnswer", operation="ListKeyRotations")
            if not answer.get("Truncated"):
                return rotations
            request["Marker"] = answer.get("NextMarker")
            if not request["Marker"]:
                break
        raise ServiceError("Its pages do not end.", code="MalformedAnswer", operation="ListKeyRotations")

    async def get_parameters_for_import(
        self, key_id: str, trace: Trace, *, wrapping_algorithm: str, wrapping_key_spec: str
    ) -> ImportParameters:
        request = {"KeyId": key_id, "WrappingAlgorithm": wrapping_algorithm, "WrappingKeySpec": wrapping_key_spec}
        answer = await self._read(
            "GetParametersForImport", trace, request, "KeyId", "ImportToken", "PublicKey", "ParametersValidTo"
        )
        return ImportParameters(answer["ImportToken"], answer["PublicKey"], answer["ParametersValidTo"])

    async def import_key_material(
        self,
        key_id: str,
        trace: Trace,
        *,
        token: bytes,
        sealed: bytes,
        valid_to: datetime | None,
        among: AmongSeveral | None = None,
        import_type: str | None = None,
    ) -> str | None:
        """ExpirationModel is always sent: its default would be KEY_MATERIAL_EXPIRES."""
        request: dict[str, Any] = {"KeyId": key_id, "ImportToken": token, "EncryptedKeyMaterial": sealed}
        if import_type is not None:
            request["ImportType"] = import_type
        if valid_to is None:
            request["ExpirationModel"] = "KEY_MATERIAL_DOES_NOT_EXPIRE"
        else:
            request |= {"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": valid_to}
        if among is not None:
            request |= {"ImportType": among.import_type, "KeyMaterialDescription": among.description}
            if among.key_material_id is not None:
                request["KeyMaterialId"] = among.key_material_id
        # A 200 that does not even name the key (botocore makes one of unreadable JSON) is no acceptance.
        answer = whole("ImportKeyMaterial", await self._call("ImportKeyMaterial", trace, request), "KeyId")
        found = answer.get("KeyMaterialId")
        return str(found) if found else None

    async def create_key(self, trace: Trace, *, wanted: NewKey) -> KeyView:
        """One attempt, never repeated inside: CreateKey has no client token, and a repeat makes a second key."""
        request: dict[str, Any] = {
            "Origin": "EXTERNAL", "KeySpec": wanted.key_spec, "KeyUsage": wanted.key_usage,
            "MultiRegion": wanted.multi_region,
            "Tags": [{"TagKey": name, "TagValue": value} for name, value in wanted.tags.items()],
        }  # fmt: skip
        if wanted.description is not None:
            request["Description"] = wanted.description
        if wanted.policy is not None:
            request["Policy"] = wanted.policy
        return made_key("CreateKey", await self._call("CreateKey", trace, request), "KeyMetadata")

    async def create_alias(self, key_id: str, trace: Trace, *, alias: str) -> None:
        """One attempt, never repeated inside."""
        await self._call("CreateAlias", trace, {"AliasName": alias, "TargetKeyId": key_id})

    async def update_key_description(self, key_id: str, trace: Trace, *, description: str) -> None:
        """One attempt, never repeated inside; so are the two below."""
        await self._call("UpdateKeyDescription", trace, {"KeyId": key_id, "Description": description})

    async def tag_resource(self, key_id: str, trace: Trace, *, tags: Mapping[str, str]) -> None:
        listed = [{"TagKey": name, "TagValue": value} for name, value in tags.items()]
        await self._call("TagResource", trace, {"KeyId": key_id, "Tags": listed})

    async def put_key_policy(self, key_id: str, trace: Trace, *, policy: str) -> None:
        await self._call("PutKeyPolicy", trace, {"KeyId": key_id, "PolicyName": "default", "Policy": policy})

    async def delete_imported_key_material(self, key_id: str, trace: Trace, *, key_material_id: str | None) -> None:
        """One attempt, never repeated inside."""
        operation = "DeleteImportedKeyMaterial"
        request = {"KeyId": key_id} | ({"KeyMaterialId": key_material_id} if key_material_id else {})
        answer = whole(operation, await self._call(operation, trace, request), "KeyId")
        deleted = answer.get("KeyMaterialId")
        if key_material_id and deleted not in (None, key_material_id):
            raise ServiceError(
                f"{operation} was sent for material {key_material_id[:8]}… of {key_id}, but the response names "
                f"{str(deleted)[:8]}…. That material may be deleted instead.",
                code="WrongKey",
                operation=operation,
                outcome_unknown=True,
            )

    async def get_key_policy(self, key_id: str, trace: Trace) -> str:
        answer = await self._read("GetKeyPolicy", trace, {"KeyId": key_id, "PolicyName": "default"}, "Policy")
        return str(answer["Policy"])

    async def rotate_key_on_demand(self, key_id: str, trace: Trace) -> None:
        """One attempt, never repeated inside."""
        whole("RotateKeyOnDemand", await self._call("RotateKeyOnDemand", trace, {"KeyId": key_id}), "KeyId")

    async def replicate_key(self, key_id: str, trace: Trace, *, wanted: NewReplica) -> KeyView:
        request: dict[str, Any] = {"KeyId": key_id, "ReplicaRegion": wanted.region}
        if wanted.description is not None:
            request["Description"] = wanted.description
        if wanted.policy is not None:
            request["Policy"] = wanted.policy
        if wanted.tags:
            request["Tags"] = [{"TagKey": name, "TagValue": value} for name, value in wanted.tags.items()]
        return made_key("ReplicateKey", await self._call("ReplicateKey", trace, request), "ReplicaKeyMetadata")

    async def count_replica(self) -> None:
        """https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html"""
        async with self._counting:  # else two replicas would share what passes meanwhile, and be sent at once
            for _ in range(PERMITS_OF_A_REPLICA):
                await self.limiter.throttler("CreateKey").acquire()
                self._gate.release()  # no call follows in this lane

    async def list_aliases(self, key_id: str, trace: Trace) -> list[str]:
        return [
            str(entry.get("AliasName", ""))
            async for entry in self._pages(
                "ListAliases", trace, {"KeyId": key_id, "Limit": 100}, "Aliases", "AliasName"
            )
        ]

    async def list_keys(self, trace: Trace) -> list[str]:
        """Keys that other accounts share with this one can be among them: they are left out."""
        pages = self._pages("ListKeys", trace, {"Limit": 1000}, "Keys", "KeyArn")
        arns = [str(entry["KeyArn"]) async for entry in pages]
        own = [arn for arn in arns if arn.split(":")[4:5] == [self.lane.account]]
        for arn in own:
            self._check_lane("ListKeys", arn)
        return own

    async def aliases_of_all(self, trace: Trace) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        async for entry in self._pages("ListAliases", trace, {"Limit": 100}, "Aliases", "AliasName"):
            found.setdefault(str(entry.get("TargetKeyId", "")), []).append(str(entry.get("AliasName", "")))
        return found

    async def list_resource_tags(self, key_id: str, trace: Trace) -> dict[str, str]:
        return {
            str(entry.get("TagKey", "")): str(entry.get("TagValue", ""))
            async for entry in self._pages("ListResourceTags", trace, {"KeyId": key_id, "Limit": 50}, "Tags", "TagKey")
        }

    async def keys_tagged(self, tag: str, trace: Trace) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        request: dict[str, Any] = {"TagFilters": [{"Key": tag}], "ResourceTypeFilters": ["kms:key"]}
        for _ in range(MOST_LISTED):
            answer = await self._read("GetResources", trace, request, "ResourceTagMappingList")
            for entry in answer["ResourceTagMappingList"]:
                arn = str(entry.get("ResourceARN", ""))
                self._check_lane("GetResources", arn)
                tags = {one.get("Key"): one.get("Value", "") for one in entry.get("Tags", ())}
                found.setdefault(str(tags.get(tag, "")), []).append(arn)
            if not answer.get("PaginationToken"):
                return found
            request = request | {"PaginationToken": answer["PaginationToken"]}
        raise endless("GetResources")

    async def generate_mac(self, key_id: str, trace: Trace, *, message: bytes, mac_algorithm: str) -> bytes:
        request = {"KeyId": key_id, "Message": message, "MacAlgorithm": mac_algorithm}
        answer = await self._read("GenerateMac", trace, request, "KeyId", "Mac")
        return bytes(answer["Mac"])

    async def get_public_key(self, key_id: str, trace: Trace) -> bytes:
        answer = await self._read("GetPublicKey", trace, {"KeyId": key_id}, "KeyId", "PublicKey")
        return bytes(answer["PublicKey"])

    async def encrypt(
        self, key_id: str, trace: Trace, *, plaintext: bytes, context: dict[str, str], algorithm: str
    ) -> bytes:
        request = {
            "KeyId": key_id, "Plaintext": plaintext, "EncryptionContext": context, "EncryptionAlgorithm": algorithm,
        }  # fmt: skip
        answer = await self._read("Encrypt", trace, request, "KeyId", "CiphertextBlob")
        return bytes(answer["CiphertextBlob"])

    async def decrypt(
        self, key_id: str, trace: Trace, *, ciphertext: bytes, context: dict[str, str], algorithm: str
    ) -> bytes:
        request = {
            "KeyId": key_id, "CiphertextBlob": ciphertext, "EncryptionContext": context,
            "EncryptionAlgorithm": algorithm,
        }  # fmt: skip
        answer = await self._read("Decrypt", trace, request, "KeyId", "Plaintext")
        return bytes(answer["Plaintext"])
