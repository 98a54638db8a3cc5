"""Import key material (bring your own key) into AWS KMS for many keys at once, and prove it.

To use it as a library: `from bulk_import import api`.
"""

__version__ = "0.1.0"
