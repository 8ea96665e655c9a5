# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
PIP     = $(BIN)/python -m pip --disable-pip-version-check
INSTALL = $(PIP) install --quiet --constraint constraints.txt

# The image's libraries: resolved for Python 3.12 on every Linux at once, with the hashes of all files of each release.
UV      = .make-tools/bin/uv
RESOLVE = $(UV) pip compile --quiet --no-config --universal --python-version 3.12 --generate-hashes --no-emit-index-url \
            --custom-compile-command 'make lock' $(UPGRADE)

.PHONY: demo test test-long lint bench docs lock sbom system clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed        ## build, check, train, judge, predict on embedded data; then it shows where the report is
	$(BIN)/estampa demo

test: $(VENV)/.installed-dev system lint        ## everything that must hold, in minutes
	$(BIN)/python -m pytest -m "not long" -n 2 --dist worksteal

test-long: $(VENV)/.installed-dev system        ## the slow checks too
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev    ## ruff, mypy --strict, the rules of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_house.py

bench: $(VENV)/.installed-dev system    ## speed and memory against the peers, side by side; writes benchmarks/results.md
	$(BIN)/python -m benchmarks.run

docs: $(VENV)/.installed-dev    ## every command in the docs, executed on small data
	$(BIN)/python -m pytest -q tests/test_docs.py

lock: .make-tools/.installed    ## docker/*requirements.txt from pyproject.toml; `make lock UPGRADE=--upgrade` takes the newest releases
	$(RESOLVE) --extra serve --output-file docker/requirements.txt pyproject.toml
	.make-tools/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	  | $(RESOLVE) --output-file docker/build-requirements.txt -

sbom: .make-tools/.installed    ## docker/sbom.cdx.json: what the lock installs, with licences and who needs what
	$(PYTHON) -m venv --clear --without-pip .make-sbom
	$(UV) pip install --quiet --no-config --require-hashes --no-deps --only-binary :all: --requirement docker/requirements.txt \
	  --python-version 3.12 --python-platform x86_64-manylinux_2_28 \
	  --target "$$(.make-sbom/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	.make-tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file docker/sbom.cdx.json .make-sbom

.make-tools/.installed: constraints.txt
	$(PYTHON) -m venv .make-tools
	.make-tools/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt uv cyclonedx-bom
	touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "estampa needs Python 3.11 or newer; found: $$($(PYTHON) --version 2>&1). Cure: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[all]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[all,dev]'
	touch $@ $(VENV)/.installed

# A browser for the tests that look at pages, and the real Fashion-MNIST. Where they cannot be installed the tests say so and skip.
system:
	@command -v chromium >/dev/null && [ -d /usr/share/datasets/fashion-mnist ] || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium dataset-fashion-mnist fonts-dejavu-core >/dev/null; } \
	  || echo "not installed (needs root and apt): chromium, dataset-fashion-mnist; the tests that use them will skip"; }

clean:
	rm -rf $(VENV) .make-tools .make-sbom .pytest_cache .mypy_cache .ruff_cache .hypothesis .demo runs benchmarks/.peers
