"""Where report, renderings and checkpoints go: local files and S3."""
