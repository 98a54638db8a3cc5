"""An import and the life of a key by the newest boto3, which knows operations that the pinned one does not."""

import json
import os
import sys

import boto3
import botocore
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

kms = boto3.client("kms")
NEVER = "KEY_MATERIAL_DOES_NOT_EXPIRE"


def put(key, material, **fields):
    given = kms.get_parameters_for_import(KeyId=key, WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048")
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    sealed = serialization.load_der_public_key(given["PublicKey"]).encrypt(material, oaep)
    return kms.import_key_material(
        KeyId=key, ImportToken=given["ImportToken"], EncryptedKeyMaterial=sealed, ExpirationModel=NEVER, **fields
    )["KeyMaterialId"]


key = kms.create_key(Origin="EXTERNAL", Description="newest")["KeyMetadata"]["KeyId"]
unused = kms.get_key_last_usage(KeyId=key)
first = put(key, os.urandom(32), KeyMaterialDescription="2025")
blob = kms.encrypt(KeyId=key, Plaintext=b"old")["CiphertextBlob"]
second = put(key, os.urandom(32), ImportType="NEW_KEY_MATERIAL", KeyMaterialDescription="2026")
kms.rotate_key_on_demand(KeyId=key)
rotations = kms.list_key_rotations(KeyId=key, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
used = kms.get_key_last_usage(KeyId=key)
try:
    kms.encrypt(KeyId=key, Plaintext=b"x", DryRun=True)
    dry = ""
except ClientError as error:
    dry = error.response["Error"]["Code"]
json.dump(
    {
        "version": botocore.__version__,
        "unused": "KeyLastUsage" in unused and bool(unused["KeyLastUsage"]),
        "used": used["KeyLastUsage"]["Operation"],
        "current": kms.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"] == second,
        "old": kms.decrypt(CiphertextBlob=blob)["KeyMaterialId"] == first,
        "names": [(r["KeyMaterialDescription"], r["KeyMaterialState"]) for r in rotations],
        "dry": dry,
    },
    sys.stdout,
)
