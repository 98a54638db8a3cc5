# Two commands do everything on a fresh machine with Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$p && break; done)
# `make test PYTHON=python3.13`: another Python, in a virtual environment of its own.
VENV := $(if $(filter command,$(origin PYTHON)),.venv-$(notdir $(PYTHON)),.venv)
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

.PHONY: help setup demo test newest bench bench-full soak lint types check lock clean

help: ## lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: $(VENV)/.ready ## creates .venv from the lock files
	@echo "Ready. Next: . $(VENV)/bin/activate, then bulk-import --help; or: make demo"

$(VENV)/.ready: requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.14 found: install one, or use make PYTHON=/path/to/python"; exit 1; }
	@echo "Creating $(VENV) with $(PYTHON): the program, the sandbox and the tools for tests, from requirements-dev.txt with hashes."
	@echo "About 950 MB on disk; two to five minutes."
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The second KMS of the tests pins another botocore, so it lives in a virtual environment of its own.
$(VENV)/.ministack: requirements-ministack.txt
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Creating $(VENV)/ministack: the second KMS of the tests, about 110 MB."
	$(PYTHON) -m venv --clear $(VENV)/ministack
	$(VENV)/ministack/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-ministack.txt
	@touch $@

# The AWS CLI, which the benchmark compares with and the tests run, pins another botocore too.
$(VENV)/.awscli: requirements-bench.txt
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Creating $(VENV)/awscli: the AWS CLI, about 200 MB."
	$(PYTHON) -m venv --clear $(VENV)/awscli
	$(VENV)/awscli/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-bench.txt
	@touch $@

# Clients of KMS that the tests run against the sandbox: the newest boto3, the AWS Encryption SDK, sops.
$(VENV)/.clients: requirements-clients.txt
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Creating $(VENV)/clients: other clients of KMS, about 130 MB."
	$(PYTHON) -m venv --clear $(VENV)/clients
	$(VENV)/clients/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-clients.txt
	@touch $@

# Runs the GitLab matrix without a GitLab. Optional: needs npm; .ci/run installs it.
$(VENV)/.gitlab: tests/shards/gitlab/package-lock.json
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	mkdir -p $(VENV)/gitlab
	cp tests/shards/gitlab/package.json tests/shards/gitlab/package-lock.json $(VENV)/gitlab/
	npm ci --prefix $(VENV)/gitlab --no-audit --no-fund --silent
	@touch $@

demo: $(VENV)/.ready ## imports a key of every type into a local AWS, twice: imported, then unchanged
	$(BIN)/python -m tests.demo

test: $(VENV)/.ready $(VENV)/.ministack $(VENV)/.awscli $(VENV)/.clients ## all tests; PYTHON=python3.13 uses another Python, in its own .venv-python3.13
	$(BIN)/python -m pytest

# aioboto3 pins an older aiobotocore; the code uses public interfaces only, so that the newest works too. Dependencies that
# cannot be met are what is tested here, so pip's complaint about the pin is expected.
newest: $(VENV)/.ready $(VENV)/.ministack ## tests of AWS, network and jobs on the newest aiobotocore and botocore
	$(PYTHON) -m venv --clear $(VENV)/newest
	$(VENV)/newest/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.txt
	$(VENV)/newest/bin/pip install --quiet --disable-pip-version-check --upgrade aiobotocore botocore boto3
	$(VENV)/newest/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(VENV)/newest/bin/pip list --disable-pip-version-check 2>/dev/null | grep -i -E '^(aioboto3|aiobotocore|botocore|aiohttp) '
	$(VENV)/newest/bin/python -m pytest tests/aws tests/s3 tests/e2e/test_network.py tests/e2e/test_limits.py tests/e2e/test_trace.py tests/e2e/test_caller_credentials.py tests/e2e/test_job.py

bench: $(VENV)/.ready $(VENV)/.awscli ## speed against the quota's minimum time, CPU, memory; about 15 minutes
	$(BIN)/python -m tests.bench.run

bench-full: $(VENV)/.ready $(VENV)/.awscli ## the same with 100,000 targets and more of everything
	$(BIN)/python -m tests.bench.run --full

soak: $(VENV)/.ready ## random faults, kills and resumes over thousands of targets; MINUTES=5 SEED=1
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),5) --seed $(or $(SEED),1)

lint: $(VENV)/.ready ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready ## mypy --strict
	$(BIN)/mypy

check: lint types test ## what CI runs

lock: ## new lock files (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --extra dev --extra sandbox --extra vault --extra pkcs11 pyproject.toml --output-file requirements-dev.txt
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --constraint requirements-dev.txt pyproject.toml --output-file requirements.txt
	printf 'awscli<2\n' | uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 - --output-file requirements-bench.txt
	printf 'boto3\naws-encryption-sdk\nsops-binary\n' | uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 - --output-file requirements-clients.txt
	printf 'ministack==1.5.33\ncryptography>=46\n' | uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 - --output-file requirements-ministack.txt

clean: ## removes what make created
	rm -rf .venv .venv-* .bench .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
