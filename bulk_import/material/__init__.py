"""Stage 2: where key material comes from, how it is checked, and how it is sealed."""

from __future__ import annotations

from pathlib import Path

from bulk_import.errors import MaterialError
from bulk_import.material import expect, shape, sources
from bulk_import.material.evidence import Evidence
from bulk_import.material.secret import Fingerprint, Secret
from bulk_import.model import KeySpec, Target


async def prepare(target: Target, key_spec: KeySpec, root: Path | None) -> tuple[Secret, Evidence]:
    """The target's material, checked, and the evidence that outlives it. The caller wipes the Secret.

    `key_spec`: what KMS says, or the manifest. `root`: the folder that material paths start from and stay in.
    Raises MaterialError, with nothing left unwiped.
    """
    secret = await sources.load(target.material, root=root, encoding=target.encoding, key_spec=key_spec)
    try:
        shape.check(secret, key_spec)
        if target.expect is not None:
            expect.check(secret, key_spec, target.expect)
        return secret, Evidence.prepare(secret, key_spec)
    except BaseException:
        secret.wipe()
        raise


async def again(target: Target, key_spec: KeySpec, root: Path | None, seen: Fingerprint) -> Secret:
    """The material once more, for sealing: so that nothing is held in memory while a lane waits for its permit.

    `seen`: of what `prepare` has checked. Raises MaterialError, also where the source has changed in between.
    """
    secret = await sources.load(target.material, root=root, encoding=target.encoding, key_spec=key_spec)
    if not seen.matches(secret):
        secret.wipe()
        raise MaterialError("The material changed while the run was using it.", code="MaterialChanged")
    return secret
