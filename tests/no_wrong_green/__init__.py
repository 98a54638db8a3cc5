"""Every way in which the program could exit with 0 although KMS holds something else, through the command line."""
