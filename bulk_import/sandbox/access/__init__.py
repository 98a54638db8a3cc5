"""Who may do what, with `--enforce-policies`: signatures, trust, identity, session and key policies, grants.

Written from IAM's and KMS's guides, apart from the program's own policies, so that a rehearsal can show that they lack
something. `NOT_EVALUATED` says what it leaves out.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

NOT_EVALUATED = (
    "service control policies and resource control policies, permissions boundaries, session tags",
    "bucket policies, policies of secrets, VPC endpoint policies",
    "signatures of web identity tokens, of SAML assertions and of signed URLs",
    "encryption context and other constraints of grants",
    "services other than KMS, STS, S3, Secrets Manager, SSM parameters, Service Quotas and tag:GetResources",
)
