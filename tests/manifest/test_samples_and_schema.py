"""The samples in manifests/ are valid, each as its reader and as the printed JSON Schema sees it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bulk_import.load import manifest as load_manifest
from bulk_import.manifest import json_schema, load
from bulk_import.model import KeySpec
from bulk_import.settings import Settings

FOLDER = Path(__file__).parents[2] / "manifests"
SAMPLES = sorted(path for path in FOLDER.iterdir() if path.suffix != ".md" and path.is_file())
DOCUMENTS = [path for path in SAMPLES if path.suffix in (".yaml", ".json")]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_sample_is_valid_whenever_it_is_read(path: Path) -> None:
    assert load_manifest(str(path), Settings()).targets


def test_samples_show_what_they_say() -> None:
    def sample(name: str) -> Any:
        return load(str(FOLDER / name), now=datetime.now(UTC))

    assert sample("fleet.yaml").total == 11  # as its comment says
    assert {target.key_spec for target in sample("every-key-spec.yaml").targets} == set(KeySpec)
    assert sample("govcloud.yaml").partition == "aws-us-gov"
    assert {access.role_arn for access in sample("own-account.yaml").accounts.values()} == {None}


class EditorLoader(yaml.SafeLoader):
    """YAML as an editor's language server types it: numbers and nulls, but dates as text."""


EditorLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith("timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_sample_fits_the_schema(path: Path) -> None:
    # EditorLoader is a SafeLoader: nothing of the text is executed.
    VALIDATOR.validate(yaml.load(path.read_text(), EditorLoader))  # noqa: S506


GOOD = {"id": "a", "account": "111122223333", "region": "us-east-1", "key_id": "alias/a", "material": "file:a"}


@pytest.mark.parametrize(
    "key",
    [
        {**GOOD, "account": "1111"},
        {**GOOD, "colour": "red"},
        {**GOOD, "role": "R"},
        {**GOOD, "id": ".a"},
        {**GOOD, "key_spec": "AES"},
        {**GOOD, "valid_to": "2027-06-30"},
        {**GOOD, "valid_for": "90"},
        {**GOOD, "regions": []},
        {name: value for name, value in GOOD.items() if name != "key_id"},
    ],
)
def test_schema_refuses_what_the_reader_refuses(key: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid({"version": 1, "keys": [GOOD]})
    assert not VALIDATOR.is_valid({"version": 1, "keys": [key]})


def test_schema_describes_every_field() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    json.dumps(schema)
    for model in (schema, *schema["$defs"].values()):
        for name, field in model.get("properties", {}).items():
            assert field.get("description"), name
            assert field.get("examples"), name
            examples = jsonschema.Draft202012Validator({**field, "$defs": schema["$defs"]})
            for example in field["examples"]:
                examples.validate(example)
