"""Service Quotas for KMS: the rates that the sandbox applies to an account and Region.

https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/
"""

from __future__ import annotations

from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.kms.quotas import DEFAULTS, Quotas

PAGE = 100


def answer(operation: str, params: dict[str, Any], account: str, region: str, quotas: Quotas) -> dict[str, Any]:
    """GetServiceQuota, ListServiceQuotas and their AWSDefault forms for the service code `kms`."""
    if params.get("ServiceCode") != "kms":
        raise AwsError("NoSuchResourceException", "The request failed because the specified service does not exist.")
    default = "AWSDefault" in operation
    known = [_entry(name, account, region, quotas, default=default) for name, (_, code) in DEFAULTS.items() if code]
    if operation in ("GetServiceQuota", "GetAWSDefaultServiceQuota"):
        for entry in known:
            if entry["QuotaCode"] == params.get("QuotaCode"):
                return {"Quota": entry}
        raise AwsError("NoSuchResourceException", "The request failed because the specified quota does not exist.")
    if operation in ("ListServiceQuotas", "ListAWSDefaultServiceQuotas"):
        start, size = int(params.get("NextToken", 0)), params.get("MaxResults", PAGE)
        page: dict[str, Any] = {"Quotas": known[start : start + size]}
        return page | ({"NextToken": str(start + size)} if start + size < len(known) else {})
    raise AwsError("UnknownOperationException")


def _entry(name: str, account: str, region: str, quotas: Quotas, *, default: bool) -> dict[str, Any]:
    rate, code = DEFAULTS[name]
    applied = rate if default else quotas.rate(account, region, name)
    return {
        "ServiceCode": "kms",
        "ServiceName": "AWS Key Management Service (AWS KMS)",
        "QuotaArn": f"arn:aws:servicequotas:{region}:{account}:kms/{code}",
        "QuotaCode": code,
        "QuotaName": f"{name} request rate",
        "Value": float(applied or rate),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
        "Period": {"PeriodValue": 1, "PeriodUnit": "SECOND"},
    }
