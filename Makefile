# make demo · make test · make check; `make help` lists the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# torch's build is yours to choose, for example: make demo TORCH="torch==2.13.0 --index-url <an index>"
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: help install demo test test-long check format proto lock clean


help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/installed ## everything into .venv: torch first and apart, then the lock, then this project

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install $(TORCH)
	$(BIN)/pip install --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --no-deps --no-build-isolation -e .
	touch $@

demo: install ## train, serve and ask, on real handwritten digits, over every path
	$(BIN)/python -m examples.demo

test: install ## all tests but the long ones
	$(BIN)/python -m pytest -m "not long"

test-long: install ## the slower tests
	$(BIN)/python -m pytest -m long

check: install ## formatting, lint, types, import contract, generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	.ci/proto-drift

format: install ## apply formatting and safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: install ## regenerate service/seqserve/pb from proto/
	.ci/proto service

lock: install ## pin everything but torch, with hashes
	$(BIN)/pip-compile --quiet --all-extras --generate-hashes --unsafe-package torch \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --strip-extras \
	  --output-file requirements.lock pyproject.toml

clean: ## remove what make made
	rm -rf .venv model-store dist
