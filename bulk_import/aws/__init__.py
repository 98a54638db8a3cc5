"""The only rooms that import aioboto3: credentials, clients, limits, and the KMS port."""
