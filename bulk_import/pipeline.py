"""What the pipeline says of itself: its commit, job and actor become labels of the report.

GitHub: https://docs.github.com/actions/reference/variables-reference
GitLab: https://docs.gitlab.com/ci/variables/predefined_variables/
Jenkins: https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables
CodeBuild: https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html
AWS Batch: https://docs.aws.amazon.com/batch/latest/userguide/job_env_vars.html
"""

from __future__ import annotations

from collections.abc import Mapping

from bulk_import.shown import shown
from bulk_import.text import harmless

_LABELS: dict[str, tuple[str, ...]] = {
    "commit": ("GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT", "CODEBUILD_RESOLVED_SOURCE_VERSION"),
    "job_url": ("CI_JOB_URL", "BUILD_URL", "CODEBUILD_PUBLIC_BUILD_URL", "CODEBUILD_BUILD_ARN", "AWS_BATCH_JOB_ID"),
    "actor": ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID", "CODEBUILD_INITIATOR"),
}


def labels(environment: Mapping[str, str]) -> dict[str, str]:
    """Empty where no pipeline is known."""
    found = {
        label: next(environment[name] for name in names if environment.get(name))
        for label, names in _LABELS.items()
        if any(environment.get(name) for name in names)
    }
    if environment.get("GITHUB_RUN_ID") and environment.get("GITHUB_REPOSITORY"):
        server = environment.get("GITHUB_SERVER_URL", "https://github.com")
        found["job_url"] = f"{server}/{environment['GITHUB_REPOSITORY']}/actions/runs/{environment['GITHUB_RUN_ID']}"
    return {label: harmless(text) if label == "commit" else shown(text) for label, text in found.items()}
