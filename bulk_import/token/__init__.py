"""A PKCS#11 token in a process of its own. Imports nothing of the program: a crash of a vendor's library stays here."""
