# make demo · make test · make check; `make help` lists the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# torch's build is yours to choose, for example: make demo TORCH="torch==2.13.0 --index-url <an index>"
TORCH ?= torch==2.13.0
BIN := .venv/bin
CLIENTS := tests/e2e/clients
SBOM := dist/seqserve.cdx.json
# A private key of `seqserve keys new`, with which `make provenance` signs.
SIGNING_KEY ?=
# Options of the benchmark, for example: make bench BENCH="--only 64 --seconds 2"
BENCH ?=
# How often `make fuzz` runs each target, and more of its options, for example: make fuzz FUZZ="images --seconds 60"
EXECUTIONS ?= 1000000
FUZZ ?=
# Options of the soak: how long, which front and engine, and so on.
SOAK ?=
# Other servers that it measures as well, each installed in build/peers: make bench PEERS="mosec torchserve triton"
PEERS ?=
# Compilers that `make native` runs at once.
JOBS ?= $(shell nproc)
PIN = $(BIN)/pip-compile --quiet --generate-hashes --strip-extras \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

.PHONY: help install clients demo test test-long reliability soak native native-sanitized compatibility bench \
  bench-lock bench-test bench-torchserve audit sbom provenance check format proto docs lock clean deploy-test \
  dashboard dashboard-picture monitoring-test image-test fuzz alerts-manifest

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/installed ## everything into .venv: the lock, torch apart from it, then this project

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install $(TORCH)
	$(BIN)/pip install --no-deps --no-build-isolation -e .
	touch $@

clients: .venv-clients/installed ## clients that others wrote and that cannot share .venv, for their tests

.venv-clients/installed: $(CLIENTS)/requirements.txt $(CLIENTS)/fetch-libb64
	$(PYTHON) -m venv --clear .venv-clients
	.venv-clients/bin/pip install --no-deps --require-hashes -r $<
	$(CLIENTS)/fetch-libb64 .venv-clients/libb64 || echo "no libb64: the tests of perf_analyzer will be skipped"
	touch $@

demo: install ## train, serve and ask, on real handwritten digits, over every path
	$(BIN)/python -m examples.demo

test: install ## all tests but the long ones
	$(BIN)/python -m pytest -m "not long and not image and not deploy"

test-long: install clients .venv-audit/installed ## the slower tests
	$(BIN)/python -m pytest -m "long and not image"

reliability: install ## every promise of docs/reliability.md, tried, and its table; an hour and a half
	$(BIN)/python -m pytest $$(PYTHONPATH=tests $(BIN)/python -m support.reliability) \
	  -o junit_family=xunit1 --junitxml .pytest_cache/reliability.xml; status=$$?; \
	PYTHONPATH=tests $(BIN)/python -m support.reliability .pytest_cache/reliability.xml docs/reliability.md \
	  && exit $$status

soak: install ## a gateway under callers of every kind for an hour, each answer checked; SOAK="--minutes 600 --front native"
	PYTHONPATH=tests $(BIN)/python -m soak $(SOAK)

native: install ## build the native front for .venv and run its tests; says which Debian packages it needs
	@service/native/needs "$(CURDIR)/$(BIN)/python"
	cd service/native && cmake --preset release -DPython_EXECUTABLE="$(CURDIR)/$(BIN)/python"
	cd service/native && cmake --build --preset release --parallel $(JOBS)
	cd service/native && ctest --preset release

native-sanitized: ## the same under ThreadSanitizer, and under AddressSanitizer with UndefinedBehaviorSanitizer
	@service/native/needs "$(PYTHON)"
	for preset in thread address; do \
	  (cd service/native && cmake --preset $$preset && cmake --build --preset $$preset --parallel $(JOBS) \
	    && ctest --preset $$preset) || exit 1; \
	done

compatibility: install clients ## run all clients that others wrote, write the tables of docs/compatibility.md
	$(BIN)/python -m pytest tests/e2e/test_*_client.py -o junit_family=xunit1 --junitxml .pytest_cache/clients.xml
	PYTHONPATH=tests $(BIN)/python -m support.compatibility .pytest_cache/clients.xml docs/compatibility.md

bench: install ## what the gateway reaches, into docs/performance.md; 23 minutes on a quiet machine, with PEERS 58
	TORCH="$(TORCH)" $(BIN)/python -m bench.fronts $(if $(PEERS),--peers $(PEERS)) $(BENCH)

bench-lock: install ## pin what the peers of the benchmark install, with hashes
	for peer in mosec torchserve triton; do \
	  $(PIN) --unsafe-package torch --output-file bench/peers/$$peer.txt bench/peers/$$peer.in || exit 1; \
	done

bench-test: ## the unit tests of the C++ load generator
	cmake -S bench -B bench/build
	cmake --build bench/build
	ctest --test-dir bench/build --output-on-failure

bench-torchserve: install ## what the gateway costs in front of TorchServe; 7 minutes on a quiet machine
	$(BIN)/python -m bench.through_torchserve

.venv-audit/installed: supply/requirements.txt
	$(PYTHON) -m venv --clear .venv-audit
	.venv-audit/bin/pip install --no-deps --require-hashes -r $<
	touch $@

audit: .venv-audit/installed ## known vulnerabilities in what is pinned: 0 none, 1 some, 3 not known; asks osv.dev
	.venv-audit/bin/python -m supply.audit requirements.lock $(CLIENTS)/requirements.txt supply/requirements.txt \
	  deploy/requirements.txt tests/fuzz/requirements.txt --torch "$(TORCH)"

sbom: .venv-audit/installed ## write dist/seqserve.cdx.json (CycloneDX), with what each extra installs
	.venv-audit/bin/python -m supply.sbom $(SBOM) --torch "$(TORCH)"
	.venv-audit/bin/python -m supply.schema $(SBOM)

.venv-deploy/installed: deploy/requirements.txt
	$(PYTHON) -m venv --clear .venv-deploy
	.venv-deploy/bin/pip install --no-deps --require-hashes -r $<
	touch $@

deploy-test: install .venv-deploy/installed ## render deploy/ with kubectl and hold it against every checker; 3 minutes
	$(BIN)/python -m pytest -m deploy tests/deploy

.venv-fuzz/installed: tests/fuzz/requirements.txt
	$(PYTHON) -m venv --clear .venv-fuzz
	.venv-fuzz/bin/pip install --no-deps --require-hashes -r $<
	touch $@

fuzz: install .venv-fuzz/installed ## fuzz all that reads what others wrote; EXECUTIONS of each target, see tests/fuzz/README.md
	PYTHONPATH=tests $(BIN)/python -m fuzz --executions $(EXECUTIONS) $(FUZZ)

provenance: install sbom ## build sdist and wheel of the commit into dist, with its provenance; SIGNING_KEY=FILE signs
	$(BIN)/python -m supply.provenance dist $(if $(SIGNING_KEY),--signing-key "$(SIGNING_KEY)")

alerts-manifest: install ## write deploy/kubernetes/components/alerts/rules.yaml from deploy/prometheus/rules
	$(BIN)/python -m deploy.kubernetes.prometheus_rule

dashboard: install ## write deploy/grafana/dashboards/seqserve.json from its table of panels
	$(BIN)/python -m deploy.grafana.dashboard

dashboard-picture: install ## four minutes of varied load, as a Prometheus saw it, into docs/dashboard.svg; needs prometheus
	PYTHONPATH=tests $(BIN)/python -m support.dashboard_run docs/dashboard.svg

monitoring-test: install ## rules, alerts and dashboard with promtool and a real Prometheus, the slower tests too
	$(BIN)/python -m pytest tests/monitoring

image-test: install ## build each container image twice and run it, as root on Debian 12; skipped elsewhere, with the reason
	$(BIN)/python -m pytest --capture=sys -m image tests/images

check: install ## formatting, lint, types, import contract, generated code and docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	.ci/proto-drift
	.ci/docs-drift

format: install ## apply formatting and safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: install ## regenerate service/seqserve/pb from proto/
	.ci/proto service

docs: install ## write docs/metrics.md and docs/configuration.md from the code
	.ci/docs

lock: install ## pin everything but torch, the clients, the auditor, the checkers of deploy/ and the fuzzers, with hashes
	$(PIN) --all-extras --unsafe-package torch --output-file requirements.lock pyproject.toml
	$(PIN) --allow-unsafe --output-file $(CLIENTS)/requirements.txt $(CLIENTS)/requirements.in
	$(PIN) --allow-unsafe --output-file supply/requirements.txt supply/requirements.in
	$(PIN) --allow-unsafe --output-file deploy/requirements.txt deploy/requirements.in
	$(PIN) --allow-unsafe --output-file tests/fuzz/requirements.txt tests/fuzz/requirements.in

clean: ## remove what make made
	rm -rf .venv .venv-clients .venv-audit .venv-deploy .venv-fuzz tests/fuzz/crashes bench/build build model-store dist
	rm -f service/seqserve/native_front/*.so
