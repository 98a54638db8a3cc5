"""What pipelines say of themselves, in environments as they set them."""

from __future__ import annotations

import pytest

from bulk_import.pipeline import labels

SHA = "0123456789abcdef0123456789abcdef01234567"
GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_SHA": SHA,
    "GITHUB_ACTOR": "octocat",
    "GITHUB_SERVER_URL": "https://github.example.com",
    "GITHUB_REPOSITORY": "org/keys",
    "GITHUB_RUN_ID": "4711",
}
GITLAB = {
    "CI": "true",
    "GITLAB_CI": "true",
    "CI_COMMIT_SHA": SHA,
    "CI_JOB_URL": "https://gitlab.example.com/org/keys/-/jobs/4711",
    "GITLAB_USER_LOGIN": "tanuki",
}
JENKINS = {
    "JENKINS_URL": "https://jenkins.example.com/",
    "GIT_COMMIT": SHA,
    "BUILD_URL": "https://jenkins.example.com/job/keys/4711/",
    "BUILD_USER_ID": "butler",
}
CODEBUILD = {
    "CODEBUILD_RESOLVED_SOURCE_VERSION": SHA,
    "CODEBUILD_BUILD_ARN": "arn:aws:codebuild:eu-central-1:111122223333:build/keys:4711",
    "CODEBUILD_INITIATOR": "codepipeline/keys",
}
BATCH = {"AWS_BATCH_JOB_ID": "01234567-89ab-cdef-0123-456789abcdef", "AWS_BATCH_JQ_NAME": "keys"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            GITHUB,
            {
                "commit": SHA,
                "job_url": "https://github.example.com/org/keys/actions/runs/4711",
                "actor": "octocat",
            },
        ),
        (GITLAB, {"commit": SHA, "job_url": GITLAB["CI_JOB_URL"], "actor": "tanuki"}),
        (JENKINS, {"commit": SHA, "job_url": JENKINS["BUILD_URL"], "actor": "butler"}),
        (CODEBUILD, {"commit": SHA, "job_url": CODEBUILD["CODEBUILD_BUILD_ARN"], "actor": "codepipeline/keys"}),
        (BATCH, {"job_url": BATCH["AWS_BATCH_JOB_ID"]}),
        ({}, {}),
        ({"HOME": "/root", "CI": "true"}, {}),
    ],
    ids=["GitHub", "GitLab", "Jenkins", "CodeBuild", "Batch", "none", "none that says anything"],
)
def test_labels(environment: dict[str, str], expected: dict[str, str]) -> None:
    assert labels(environment) == expected


def test_a_public_page_of_codebuild_is_better_than_its_arn() -> None:
    page = "https://eu-central-1.codebuild.aws.amazon.com/project/x/build/keys:4711"
    assert labels(CODEBUILD | {"CODEBUILD_PUBLIC_BUILD_URL": page})["job_url"] == page


def test_jenkins_without_the_plugin_that_tells_the_user() -> None:
    assert "actor" not in labels({name: value for name, value in JENKINS.items() if name != "BUILD_USER_ID"})


def test_an_empty_variable_is_none() -> None:
    assert labels({"GITHUB_SHA": "", "CI_COMMIT_SHA": SHA}) == {"commit": SHA}
    assert labels(GITHUB | {"GITHUB_RUN_ID": ""}) == {"commit": SHA, "actor": "octocat"}


def test_github_com_where_the_server_is_not_said() -> None:
    quiet = {name: value for name, value in GITHUB.items() if name != "GITHUB_SERVER_URL"}
    assert labels(quiet)["job_url"] == "https://github.com/org/keys/actions/runs/4711"


def test_one_pipelines_labels_are_not_mixed_with_anothers() -> None:
    """A Jenkins build whose shell also carries a stray CI_JOB_URL is still one job: the first that is known."""
    assert labels(GITHUB | GITLAB)["job_url"].startswith("https://github.example.com/")
