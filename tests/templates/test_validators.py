"""The engines' own validators and published schemas, offline. There is none for a Jenkinsfile but Jenkins itself: that
file is parsed as Groovy, and its blocks are looked at.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_groovy

from bulk_import.templates import template

BIN = Path(sys.executable).parent


def check(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=110, check=False)


def put(folder: Path, name: str, file: str) -> Path:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(template(name))
    return path


@pytest.mark.parametrize(
    "name", ["github-actions", "github-actions-matrix", "github-actions-standby", "github-actions-nightly"]
)
def test_github_actions(name: str, tmp_path: Path) -> None:
    """The workflow schema of SchemaStore; zizmor's audits, the pedantic ones too."""
    file = put(tmp_path, name, ".github/workflows/bulk-import.yml")
    done = check(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", file)
    assert done.returncode == 0, done.stdout
    done = check(BIN / "check-jsonschema", "--builtin-schema", "custom.github-workflows-require-timeout", file)
    assert done.returncode == 0, done.stdout
    done = check(BIN / "zizmor", "--offline", "--pedantic", "--no-progress", file)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["gitlab", "gitlab-matrix", "gitlab-standby", "gitlab-nightly"])
def test_gitlab(name: str, tmp_path: Path) -> None:
    file = put(tmp_path, name, ".gitlab-ci.yml")
    done = check(
        BIN / "check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", file
    )
    assert done.returncode == 0, done.stdout


def test_cloudformation(tmp_path: Path) -> None:
    files = [put(tmp_path, name, f"{name}.yaml") for name in ("codebuild", "aws-batch", "aws-batch-array")]
    done = check(BIN / "cfn-lint", "--include-checks", "I", "--template", *files)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["kubernetes", "kubernetes-indexed"])
def test_kubernetes(name: str, tmp_path: Path) -> None:
    """Strict: an unknown field is an error. The oldest supported version and the newest that the schemas know."""
    file = put(tmp_path, name, "bulk-import.yaml")
    file.write_text(file.read_text().replace("FLEET-NAME", "20260302-043000"))
    for version in ("1.33", "1.37"):
        done = check(BIN / "kubernetes-validate", "--strict", "--kubernetes-version", version, file)
        assert done.returncode == 0, done.stdout + done.stderr


def test_container(tmp_path: Path) -> None:
    done = check(BIN / "hadolint", "--failure-threshold", "style", put(tmp_path, "container", "Dockerfile"))
    assert done.returncode == 0, done.stdout


def test_the_validators_refuse(tmp_path: Path) -> None:
    """What the tests above rest on."""
    workflow = put(tmp_path, "github-actions", ".github/workflows/bulk-import.yml")
    workflow.write_text(workflow.read_text().replace("runs-on:", "runs_on:").replace("@08c6903cd8c0fde9", "@v5 # "))
    assert check(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", workflow).returncode
    assert check(BIN / "zizmor", "--offline", "--no-progress", workflow).returncode
    pods = put(tmp_path, "kubernetes", "bulk-import.yaml")
    pods.write_text(pods.read_text().replace("concurrencyPolicy", "concurencyPolicy"))
    assert check(BIN / "kubernetes-validate", "--strict", pods).returncode


# --- Jenkins


@pytest.fixture(scope="module")
def parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_groovy.language()))


def test_the_jenkinsfile_is_groovy(parser: tree_sitter.Parser) -> None:
    text = template("jenkins")
    assert not parser.parse(text.encode()).root_node.has_error
    assert parser.parse(text.replace("steps {", "steps", 1).encode()).root_node.has_error


def test_the_jenkinsfile_has_the_blocks_of_a_declarative_pipeline(parser: tree_sitter.Parser) -> None:
    """https://www.jenkins.io/doc/book/pipeline/syntax/: what may be in a pipeline, in a stage, and what must."""
    (pipeline,) = blocks(parser.parse(template("jenkins").encode()).root_node, "pipeline")
    assert names(pipeline) <= {"agent", "options", "environment", "stages", "post", "parameters", "triggers", "tools"}
    assert {"agent", "stages"} <= names(pipeline)
    stages = [stage for block in blocks(pipeline, "stages") for stage in blocks(block, "stage")]
    assert len(stages) == 3
    for stage in stages:
        assert names(stage) <= {"agent", "options", "environment", "when", "input", "steps", "post"}
        assert "steps" in names(stage)


def called(node: tree_sitter.Node) -> str | None:
    """The name of a call that stands as a statement: `name {…}`, `name(…) {…}` or `name argument`."""
    if node.type == "expression_statement" and node.named_children:
        node = node.named_children[0]
    text = (node.text or b"").decode()
    head = text.split("(")[0].split("{")[0].split()
    return head[0] if head and head[0].isidentifier() else None


def statements(node: tree_sitter.Node) -> list[tree_sitter.Node]:
    """The statements of a block: the nearest closure's children, or a program's."""
    if node.type in ("closure", "program", "source_file"):
        return [child for child in node.named_children if "comment" not in child.type]
    for child in reversed(node.named_children):
        found = statements(child)
        if found:
            return found
    return []


def names(block: tree_sitter.Node) -> set[str]:
    return {name for statement in statements(block) if (name := called(statement))}


def blocks(node: tree_sitter.Node, name: str) -> list[tree_sitter.Node]:
    return [statement for statement in statements(node) if called(statement) == name]
