"""The seed file: accounts, roles and keys that a sandbox begins with. YAML.

caller: {account: "000000000000"}         # optional; access_key_id: only this key is the caller's; secret_access_key;
                                          # arn; policies: what it may do with --enforce-policies (all)
iam: policies.json                        # optional, for --enforce-policies: what `bulk-import iam` printed
strict_roles: true                        # optional: only roles listed here can be assumed
accounts:
  "111122223333":
    roles:                                # with any listed, no other role of the account can be assumed
      - {name: byok/Importer, external_id: org-7f3a}      # deny: true; max_session_duration: 3600; policies: [document
                                          # or AdministratorAccess]; trust: document (the caller's account)
    oidc_providers: {token.actions.githubusercontent.com: [sts.amazonaws.com]}   # issuer without https://: audiences
    regions:
      us-east-1:
        quotas: {GetParametersForImport: 5}               # this lane's rates
        keys:
          - alias: alias/payments         # or aliases: [...]
            key_spec: SYMMETRIC_DEFAULT   # the default
            key_usage: ENCRYPT_DECRYPT    # default: the spec's first
            origin: EXTERNAL              # the default; or AWS_KMS
            key_id: …                     # default: a new one
            multi_region: false
            replicas: [eu-west-1]         # of a multi-Region key with material
            state: Disabled               # Enabled, Disabled, PendingDeletion; default: by its material
            material: {hex: 00ff…}        # or {file: path}, below the seed file's folder: material it already has
            valid_to: 2027-06-30T00:00:00Z
            tags: {team: payments}
            description: text
        generate:                         # for load: many keys alike
          - {count: 1000, alias: "alias/load-{n}", key_spec: HMAC_256}   # {n} counts from 0
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bulk_import.errors import InputError, Problem
from bulk_import.sandbox.access.documents import faults
from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.identity import EVERYTHING, Role
from bulk_import.sandbox.kms.backend import backend, born
from bulk_import.sandbox.kms.keys import CURRENT, EXPIRES, NEVER_EXPIRES, Material, SandboxKey, Snapshot
from bulk_import.sandbox.kms.replicas import new_replica
from bulk_import.sandbox.kms.specs import SPECS, material_fits, new_material
from bulk_import.sandbox.kms.timeline import Timeline
from bulk_import.sandbox.seed_iam import plant_iam
from bulk_import.sandbox.world import World


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MaterialForm(Form):
    hex: str | None = None
    file: Path | None = None


class KeyForm(Form):
    alias: str | None = None
    aliases: list[str] = []
    key_id: str | None = None
    key_spec: str = "SYMMETRIC_DEFAULT"
    key_usage: str | None = None
    origin: Literal["EXTERNAL", "AWS_KMS"] = "EXTERNAL"
    multi_region: bool = False
    replicas: list[str] = []
    state: Literal["Enabled", "Disabled", "PendingDeletion"] | None = None
    material: MaterialForm | None = None
    valid_to: datetime | None = None
    tags: dict[str, str] = {}
    description: str = ""


class GenerateForm(KeyForm):
    count: int = Field(ge=1)


class RegionForm(Form):
    quotas: dict[str, float] = {}
    keys: list[KeyForm] = []
    generate: list[GenerateForm] = []


def _as_policy(value: Any) -> dict[str, Any]:
    if value == "AdministratorAccess":
        return EVERYTHING
    faults(value)
    return dict(value)


PolicyForm = Annotated[dict[str, Any], BeforeValidator(_as_policy)]


class RoleForm(Form):
    name: str
    external_id: str | None = None
    deny: bool = False
    max_session_duration: int = 3600
    policies: list[PolicyForm] = []
    trust: PolicyForm | None = None


class AccountForm(Form):
    roles: list[RoleForm] = []
    oidc_providers: dict[str, list[str]] = {}
    regions: dict[str, RegionForm] = {}


class CallerForm(Form):
    account: str = "000000000000"
    access_key_id: str | None = None
    secret_access_key: str | None = Field(default=None, repr=False)
    arn: str | None = None
    policies: list[PolicyForm] | None = None


class Seed(Form):
    """A seed file that was read and checked. `folder`: its material files are below; None: it may name none."""

    caller: CallerForm | None = None
    iam: Path | None = None
    strict_roles: bool = False
    accounts: dict[str, AccountForm] = {}
    folder: Path | None = Field(default=None, exclude=True)


def read_seed(path: Path) -> Seed:
    """Reads a seed file. Raises InputError that names the file and every field at fault."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        advice = "Check --seed, or omit it to start without keys. bulk_import/sandbox/README.md shows a seed file."
        raise InputError([Problem(str(path), 0, "", "there is no such seed file.", advice)]) from None
    except OSError as error:
        advice = "Check the path and its permissions."
        raise InputError([Problem(str(path), 0, "", f"cannot be read: {error.strerror}.", advice)]) from None
    except UnicodeDecodeError:
        raise InputError([Problem(str(path), 0, "", "is not UTF-8.", "Save the seed file as UTF-8.")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or "not YAML"
        line = mark.line + 1 if mark else 0
        raise InputError([Problem(str(path), line, "", f"is not valid YAML: {said}.", "Correct it.")]) from None
    return parse_seed(document, str(path), path.parent)


def parse_seed(document: Any, name: str, folder: Path | None) -> Seed:
    """Checks a seed document. Raises InputError that names every field at fault."""
    try:
        seed = Seed.model_validate(document)
    except ValidationError as error:
        problems = [Problem(name, 0, ".".join(map(str, e["loc"])), e["msg"], "") for e in error.errors()]
        raise InputError(problems) from None
    seed.folder = folder
    problems = [Problem(name, 0, field, message, "") for field, message in _faults(seed)]
    if problems:
        raise InputError(problems)
    return seed


def _faults(seed: Seed) -> list[tuple[str, str]]:
    """What the forms cannot say by themselves: (field, message)."""
    found: list[tuple[str, str]] = []
    for account, form in seed.accounts.items():
        if len(account) != 12 or not account.isdigit():
            found.append((f"accounts.{account}", "an account has 12 digits, in quotes"))
        for region, lane in form.regions.items():
            where = f"accounts.{account}.regions.{region}"
            for kind, keys in (("keys", lane.keys), ("generate", lane.generate)):
                for n, key in enumerate(keys):
                    found += [(f"{where}.{kind}.{n}.{field}", text) for field, text in _key_faults(key)]
    return found


def _key_faults(key: KeyForm) -> list[tuple[str, str]]:
    spec = SPECS.get(key.key_spec)
    if spec is None:
        return [("key_spec", f"unknown: {key.key_spec}; one of {', '.join(SPECS)}")]
    found = []
    if key.key_usage is not None and key.key_usage not in spec.usages:
        found.append(("key_usage", f"{key.key_spec} allows {', '.join(spec.usages)}"))
    if key.material is not None and (key.material.hex is None) == (key.material.file is None):
        found.append(("material", "give either hex or file"))
    if key.state in ("Enabled", "Disabled") and key.origin == "EXTERNAL" and key.material is None:
        found.append(("state", f"a key without material cannot be {key.state}: give it material"))
    if key.replicas and not key.multi_region:
        found.append(("replicas", "only a multi_region key has replicas"))
    return found


def plant(world: World, seed: Seed) -> list[dict[str, str]]:
    """Puts `seed` into the sandbox. Returns the keys made, in file order."""
    identity = world.identity
    identity.strict_roles = identity.strict_roles or seed.strict_roles
    if seed.caller:
        identity.caller_account = seed.caller.account
        identity.caller_access_key = seed.caller.access_key_id
        identity.caller_secret = seed.caller.secret_access_key
        identity.caller_arn = seed.caller.arn
        identity.caller_policies = seed.caller.policies
    made, now = [], world.clock.now()
    for account, form in seed.accounts.items():
        known = identity.roles.setdefault(account, {})
        known |= {
            role.name: Role(**role.model_dump() | {"policies": tuple(role.policies), "since": now})
            for role in form.roles
        }
        identity.providers.setdefault(account, {}).update(form.oidc_providers)
        for region, lane in form.regions.items():
            world.quotas.lane_rates |= {(account, region, quota): rate for quota, rate in lane.quotas.items()}
            forms = [*lane.keys, *(one for many in lane.generate for one in _each(many))]
            for key_form in forms:
                try:
                    made += _plant_key(world, account, region, key_form, seed.folder)
                except AwsError as error:
                    field = f"accounts.{account}.regions.{region}"
                    raise InputError([Problem("seed", 0, field, error.message, "")]) from None
    if seed.iam is not None:
        plant_iam(identity, _inside(seed.iam, seed.folder, "iam"))
    return made


def _each(many: GenerateForm) -> list[KeyForm]:
    fields = many.model_dump(exclude={"count"})
    alias = fields["alias"] or "alias/generated-{n}"
    return [KeyForm(**fields | {"alias": alias.replace("{n}", str(n))}) for n in range(many.count)]


def _plant_key(world: World, account: str, region: str, form: KeyForm, folder: Path | None) -> list[dict[str, str]]:
    store = backend(account, region)
    spec = SPECS[form.key_spec]
    key = store.new_key(
        spec,
        form.key_usage or spec.usages[0],
        form.origin,
        description=form.description,
        multi_region=form.multi_region,
        key_id=form.key_id,
    )
    snapshot = born(key, new_material(spec)) if form.origin == "AWS_KMS" else _snapshot(key, form, folder)
    if form.state:
        deletion = world.clock.now() + 30 * 86400 if form.state == "PendingDeletion" else None
        snapshot = Snapshot(0.0, form.state, snapshot.materials, deletion)
    store.add(key, snapshot)
    aliases = [*([form.alias] if form.alias else []), *form.aliases]
    for alias in aliases:
        store.plant_alias(alias, key.id)
    if form.tags:
        key.tags = Timeline(form.tags, world.clock.now())
    for other in form.replicas:
        new_replica(key, other, ready=True)
    shown = {"account": account, "region": region, "alias": aliases[0] if aliases else ""}
    return [shown | {"key_id": key.id, "arn": key.arn}]


def _snapshot(key: SandboxKey, form: KeyForm, folder: Path | None) -> Snapshot:
    if form.material is None:
        return born(key, None)
    material = _material(form.material, folder)
    if not material_fits(key.spec, material):
        raise InputError([Problem("seed", 0, form.alias or key.id, f"the material is not a {key.key_spec} key.", "")])
    valid_to = form.valid_to.replace(tzinfo=form.valid_to.tzinfo or UTC).timestamp() if form.valid_to else None
    model = NEVER_EXPIRES if valid_to is None else EXPIRES
    entry = Material(key.material_id(material), CURRENT, material, model, valid_to)
    return Snapshot(0.0, "Enabled", (entry,))


def _material(form: MaterialForm, folder: Path | None) -> bytes:
    try:
        if form.hex is not None:
            return bytes.fromhex(form.hex)
        assert form.file is not None  # noqa: S101 - the form has one of the two
        return _inside(form.file, folder, "material.file").read_bytes()
    except (OSError, ValueError):
        raise InputError([Problem("seed", 0, "material", "cannot be read.", "Check hex or file.")]) from None


def _inside(path: Path, folder: Path | None, field: str) -> Path:
    """A path of the seed, which must be below the seed file's folder. Raises InputError."""
    if folder is None:
        raise InputError([Problem("seed", 0, field, "without a seed file, no file is read.", "")])
    resolved = (folder / path).resolve()
    if not resolved.is_relative_to(folder.resolve()):
        message = f"{path} is not below the seed file's folder."
        raise InputError([Problem("seed", 0, field, message, "Put it there.")])
    return resolved
