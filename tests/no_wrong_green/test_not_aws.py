"""What is not AWS is never called AWS: by its endpoint's form, for every service that carries a part of the run."""

from __future__ import annotations

import json

import pytest

from tests.e2e import materials
from tests.e2e.network import ForwardProxy
from tests.e2e.support import Workplace
from tests.no_wrong_green.conftest import Run
from tests.sandbox_client import Sandbox


@pytest.mark.parametrize(
    "command", [("plan", "manifest.json"), ("run", "manifest.json", "--dry-run"), ("plan", "manifest.json", "--quiet")]
)
def test_a_plan_says_so(command: tuple[str, ...], sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name="a")
    work.write()
    result = work.call(*command)
    assert result.code == 0
    assert f"Not AWS: this plan talked to the sandbox (sts {sandbox.url}, kms {sandbox.url})" in result.stderr


def test_the_plan_as_a_document_says_so(sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name="a")
    work.write()
    result = work.call("plan", "manifest.json", "--format", "json")
    document = json.loads(result.stdout)
    assert (document["environment"], document["endpoints"]) == ("sandbox", {"sts": sandbox.url, "kms": sandbox.url})


WAYS: dict[str, tuple[dict[str, str], str]] = {
    "AWS_ENDPOINT_URL": ({"AWS_ENDPOINT_URL": "URL"}, ""),
    "of each service": ({"AWS_ENDPOINT_URL_KMS": "URL", "AWS_ENDPOINT_URL_STS": "URL"}, ""),
    "profile": ({"AWS_CONFIG_FILE": "config"}, "[default]\nendpoint_url = URL\n"),
    "services section": (
        {"AWS_CONFIG_FILE": "config"},
        "[default]\nservices = x\n[services x]\nkms =\n  endpoint_url = URL\nsts =\n  endpoint_url = URL\n",
    ),
    "another profile": (
        {"AWS_CONFIG_FILE": "config", "AWS_PROFILE": "p"},
        "[profile p]\nendpoint_url = URL\ncredential_source = Environment\n",
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_an_endpoint_is_seen_whatever_names_it(name: str, sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name="a")
    work.write()
    variables, config = WAYS[name]
    for url, code in ((sandbox.url, 0), (f"http://kms.example.com{sandbox.url[16:]}", 3)):
        (work.folder / "config").write_text(config.replace("URL", url))
        environment = {key: value.replace("URL", url) for key, value in variables.items()}
        result = work.call("plan", "manifest.json", "--format", "json", BULK_IMPORT_ENDPOINT_URL="", **environment)
        assert result.code == code, result.stderr
        if code == 0:
            found = json.loads(result.stdout)
            assert (found["environment"], found["endpoints"]["kms"]) == ("sandbox", sandbox.url)
            assert "Not AWS" in result.stderr
        else:
            assert "only loopback endpoints may use http://" in result.stderr


# --- S3 counts, too
def test_s3_counts_where_it_carries_the_manifest_or_the_report(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name="a")
    sandbox.client("s3", None).create_bucket(Bucket="reports")
    plain = run()
    assert set(plain.report["run"]["endpoints"]) == {"sts", "kms"}
    assert run("--render", "html=s3://reports/page.html").report["run"]["endpoints"]["s3"] == sandbox.url
    sandbox.client("s3", None).put_object(Bucket="reports", Key="m.json", Body=work.write().read_bytes())
    planned = work.call("plan", "s3://reports/m.json", "--material-root", str(work.folder), "--format", "json")
    assert set(json.loads(planned.stdout)["endpoints"]) == {"sts", "kms", "s3"}


# --- which Region everything without a Region of its own asks
def asked(
    work: Workplace, *options: str, command: tuple[str, ...] = ("plan", "manifest.json"), **more: str
) -> set[str]:
    """The hosts that a forward proxy was asked for. Nobody behind it is ever reached."""
    with ForwardProxy(refuses=403) as proxy:
        environment = {
            "BULK_IMPORT_ENDPOINT_URL": "", "NO_PROXY": "", "HTTPS_PROXY": proxy.url, "AWS_DEFAULT_REGION": "", **more,
        }  # fmt: skip
        result = work.call(*command, *options, "--retry-timeout", "0", **environment)
        assert result.code in (3, 5), result.stderr
        return {text.removeprefix("CONNECT ").removesuffix(":443") for text in proxy.used}


def named(work: Workplace, region: str = "us-east-1") -> None:
    (work.folder / "a.key").write_bytes(bytes(range(32)))
    work.keys = [
        {"id": "a", "account": "111122223333", "region": region, "key_id": "alias/a", "material": "file:a.key",
         "encoding": "raw"}
    ]  # fmt: skip
    work.write()


REGIONS = {
    "AWS_REGION": ({"AWS_REGION": "eu-west-1"}, (), "sts.eu-west-1.amazonaws.com"),
    "AWS_REGION first": (
        {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-2"},
        (),
        "sts.eu-west-1.amazonaws.com",
    ),
    "AWS_DEFAULT_REGION": ({"AWS_DEFAULT_REGION": "us-east-2"}, (), "sts.us-east-2.amazonaws.com"),
    "blank": ({"AWS_REGION": " ", "AWS_DEFAULT_REGION": "us-east-2"}, (), "sts.us-east-2.amazonaws.com"),
    "option": ({"AWS_REGION": "eu-west-1"}, ("--sts-region", "eu-central-1"), "sts.eu-central-1.amazonaws.com"),
    "legacy": ({"AWS_REGION": "eu-west-1", "AWS_STS_REGIONAL_ENDPOINTS": "legacy"}, (), "sts.eu-west-1.amazonaws.com"),
    "FIPS": ({"AWS_REGION": "us-east-2", "AWS_USE_FIPS_ENDPOINT": "true"}, (), "sts-fips.us-east-2.amazonaws.com"),
    "an old name of FIPS": ({"AWS_REGION": "fips-us-east-2"}, (), "sts-fips.us-east-2.amazonaws.com"),
    "an empty variable": (
        {"AWS_REGION": "", "AWS_DEFAULT_REGION": " ", "AWS_CONFIG_FILE": "config"},
        (),
        "sts.eu-west-3.amazonaws.com",
    ),
    "dual-stack": ({"AWS_REGION": "eu-west-1", "AWS_USE_DUALSTACK_ENDPOINT": "true"}, (), "sts.eu-west-1.api.aws"),
}
WEB_IDENTITY = {
    "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/pipeline",
}  # fmt: skip


@pytest.mark.parametrize("caller", ["keys", "web identity"])
@pytest.mark.parametrize(("environment", "options", "host"), REGIONS.values(), ids=REGIONS)
def test_the_region_of_sts(
    environment: dict[str, str], options: tuple[str, ...], host: str, caller: str, work: Workplace
) -> None:
    named(work)
    (work.folder / "config").write_text("[default]\nregion = eu-west-3\n")
    if caller == "web identity":
        (work.folder / "token").write_text("a.b.c")
        environment = environment | WEB_IDENTITY | {"AWS_WEB_IDENTITY_TOKEN_FILE": str(work.folder / "token")}
    assert asked(work, *options, **environment) == {host}


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-gov-east-1", "sts.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "sts.cn-northwest-1.amazonaws.com.cn"),
        ("us-iso-west-1", "sts.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", "sts.us-isob-east-1.sc2s.sgov.gov"),
        ("us-isof-east-1", "sts.us-isof-south-1.csp.hci.ic.gov"),
        ("eusc-de-east-1", "sts.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_the_default_region_is_one_of_the_partition(region: str, host: str, work: Workplace) -> None:
    named(work, region)
    assert asked(work) == {host}


def test_the_region_of_s3(work: Workplace) -> None:
    command = ("validate", "s3://reports/m.yaml")
    assert asked(work, command=command, AWS_REGION="eu-west-1") == {"reports.s3.eu-west-1.amazonaws.com"}


# --- the keys of TLS
@pytest.mark.parametrize(
    "command", [("plan", "manifest.json"), ("run", "manifest.json"), ("validate", "s3://a-b-c/m.yaml")]
)
def test_the_keys_of_tls_are_not_written_down(command: tuple[str, ...], sandbox: Sandbox, work: Workplace) -> None:
    named(work)
    result = work.call(*command, SSLKEYLOGFILE=str(work.folder / "keys.log"))
    assert result.code == 3
    assert "SSLKEYLOGFILE" in result.stderr
    log = work.folder / "keys.log"  # Python begins it with a comment for every TLS context; no key may follow
    assert not log.exists() or all(line.startswith("#") for line in log.read_text().splitlines())


def test_what_touches_no_aws_does_not_mind(work: Workplace) -> None:
    named(work)
    assert work.call("validate", "manifest.json", SSLKEYLOGFILE=str(work.folder / "keys.log")).code == 0
