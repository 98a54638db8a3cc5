"""The AWS Encryption SDK under the key of argv[1]: encrypts stdin to stdout, or decrypts with argv[2] `decrypt`."""

import sys

import aws_encryption_sdk
from aws_encryption_sdk import CommitmentPolicy, StrictAwsKmsMasterKeyProvider

client = aws_encryption_sdk.EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
keys = StrictAwsKmsMasterKeyProvider(key_ids=[sys.argv[1]])
source = sys.stdin.buffer.read()
if sys.argv[2:] == ["decrypt"]:
    result, _ = client.decrypt(source=source, key_provider=keys)
else:
    result, _ = client.encrypt(source=source, key_provider=keys, encryption_context={"purpose": "test"})
sys.stdout.buffer.write(result)
