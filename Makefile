# Two commands do it all on a fresh Debian 12: `make demo` and `make test`.
# Both set up what they need (system packages when run as root, a virtual environment in
# .venv) and may be run again and on their own.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
VIEWER := .viewer
# What the demo runs, and what only the tests need. npm comes with Node.js where that is installed.
SYSTEM := orthanc orthanc-dicomweb orthanc-python redis-server python3-redis python3-kombu \
          $(if $(shell command -v npm),,npm)
TOOLS  := chromium dcmtk default-jdk-headless docker-compose gettext-base libfaketime libpixelmed-java nginx-light openssl

.PHONY: help demo test unit lint fuzz bench viewer setup system clean

help: ## Say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: setup viewer ## A study arrives in a real Orthanc and comes back graded (STUDY=DIR, KEEP=1)
	STUDY="$(STUDY)" KEEP="$(KEEP)" $(BIN)/python -m deploy.demo.run

test: EXTRA = $(TOOLS)
test: setup viewer ## All checks and tests
	$(MAKE) --no-print-directory lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 5 --dist loadfile --no-loadscope-reorder --durations 20

unit: setup ## Fast tests without servers: two minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m "not slow" tests/unit tests/property

lint: setup ## Style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: setup ## 1,000 broken studies for each seed (CASES=N: that many)
	LUMBAR_FUZZ_CASES=$(or $(CASES),1000) OMP_NUM_THREADS=1 $(BIN)/pytest tests/fuzz

bench: setup ## Time per step, peak memory, time to route headers, concurrent processes
	$(BIN)/python tests/benchmarks/grade_phantom.py
	$(BIN)/python tests/benchmarks/route_headers.py
	$(BIN)/python tests/benchmarks/concurrent_grading.py

viewer: system ## The OHIF viewer, pinned and checked, in .viewer
	@$(PYTHON) deploy/ohif/install.py $(VIEWER)

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || $(MAKE) --no-print-directory system EXTRA=python3-venv
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,test,dev]'
	@touch $@

# Debian's packages: what the tests and the demo start for real. (EXTRA: more of them.)
system:
	@missing=; for package in $(SYSTEM) $(EXTRA); do \
	  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "Installing Debian packages:$$missing"; \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -qq && \
	  $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

clean: ## Remove the virtual environment and everything built
	rm -rf $(VENV) $(VIEWER) build *.egg-info demo-out
