"""Sessions, clients, credentials, TLS and the translation of errors."""
