"""The only packages that import aioboto3: credentials, clients, limits, and the KMS port."""
