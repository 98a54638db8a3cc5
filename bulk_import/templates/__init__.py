"""Ready files for pipelines and batch engines, one for each engine, kept as they are printed (in files/).

What they share: a role instead of stored keys, one run at a time, the plan before the import, material from the
engine's secret store by environment variable (base64), the report kept in every case, and less time for the run's
grace than the engine leaves between its SIGTERM and its SIGKILL.
"""

from __future__ import annotations

from importlib import resources

from bulk_import import __version__

# Name → the file in files/.
FILES: dict[str, str] = {
    "github-actions": "github-actions.yml",
    "gitlab": "gitlab-ci.yml",
    "jenkins": "Jenkinsfile",
    "codebuild": "codebuild.yaml",
    "aws-batch": "aws-batch.yaml",
    "kubernetes": "kubernetes.yaml",
    "container": "Dockerfile",
    # every night: state, expiry and drift of every key
    "github-actions-nightly": "github-actions-nightly.yml",
    "gitlab-nightly": "gitlab-nightly.yml",
    # one import on several machines, and one report of all
    "github-actions-matrix": "github-actions-matrix.yml",
    "gitlab-matrix": "gitlab-matrix.yml",
    "aws-batch-array": "aws-batch-array.yaml",
    "kubernetes-indexed": "kubernetes-indexed.yaml",
    "slurm": "slurm.sh",
    # import parameters for every key each day, for an emergency
    "github-actions-standby": "github-actions-standby.yml",
    "gitlab-standby": "gitlab-standby.yml",
}


def template(name: str) -> str:
    """The file for an engine of FILES, pinned to this version of the program."""
    text = resources.files(__package__).joinpath("files", FILES[name]).read_text("utf-8")
    return text.replace("@VERSION@", __version__)
