"""Terraform's external keys, where Terraform and its AWS provider are on the machine: no registry of ours has them."""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path

import pytest

from tests.clients.conftest import Command
from tests.sandbox_client import Sandbox

PLUGINS = [path for path in (Path("/opt/tf-plugins"),) if path.is_dir()]
CONFIGURATION = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
variable "material" { sensitive = true }
variable "description" { default = "first" }
provider "aws" {
  skip_requesting_account_id = false
  s3_use_path_style          = true
}
resource "aws_kms_external_key" "key" {
  description             = var.description
  key_material_base64     = var.material
  enabled                 = true
  deletion_window_in_days = 7
  tags                    = { team = "a" }
}
resource "aws_kms_alias" "key" {
  name          = "alias/terraform"
  target_key_id = aws_kms_external_key.key.id
}
"""
COMMANDS = (
    "terraform init -input=false -plugin-dir=$PLUGINS",
    "terraform apply -input=false -auto-approve",
    "terraform plan -input=false -detailed-exitcode",
    "terraform apply -input=false -auto-approve -var description=second",
    "terraform destroy -input=false -auto-approve",
)

if PLUGINS and shutil.which("terraform"):

    @pytest.mark.timeout(400)  # Terraform starts its provider, a program of 800 MB, ten times
    def test_an_external_key(sandbox: Sandbox, shell: Command, tmp_path: Path) -> None:
        (tmp_path / "main.tf").write_text(CONFIGURATION)
        material = os.urandom(32)
        fields = {
            "PLUGINS": str(PLUGINS[0]),
            "TF_VAR_material": base64.b64encode(material).decode(),
            "CHECKPOINT_DISABLE": "1",
        }
        seen = []
        for command in COMMANDS:
            shell(command, **fields)
            shown = sandbox.keys(account="111122223333")
            seen.append([(key["state"], key["description"], key["aliases"], key["tags"]) for key in shown])
        applied = ("Enabled", "first", ["alias/terraform"], {"team": "a"})
        changed = ("Enabled", "second", ["alias/terraform"], {"team": "a"})
        deleted = ("PendingDeletion", "second", [], {"team": "a"})
        assert seen == [[], [applied], [applied], [changed], [deleted]]
