"""The life of a key, step by step, through the command line; KMS's side is checked with an independent boto3 client."""
