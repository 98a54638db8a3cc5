"""KMS of the sandbox, one file per subject: keys, import, rotation, replicas, use, quotas, lag, faults.

`service.py` has one method per operation; `backend.py` is what the sandbox overrides of moto.
"""
