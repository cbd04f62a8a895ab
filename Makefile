# Everything a person does with a checkout; `make help` lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
RAY    := build/ray
OTHERS := build/others
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow test-cluster test-others check package docs verify tui report bench sentences clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 12

setup: $(STAMP)  ## create .venv and install the pinned packages, nothing else

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "no $(PYTHON) found: install Python 3.11 or newer, or call make PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(0 if sys.version_info >= (3, 11) else f"fts needs Python 3.11 or newer, found {v}: call make PYTHON=/path/to/python3.11")'
	@echo "creating $(VENV) and installing the pinned packages (about two minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip uninstall --quiet --disable-pip-version-check --yes fts 2>/dev/null  # its name before 0.2.0
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[dev,patchtst]' --config-settings editable_mode=compat
	@touch $(STAMP)
	@echo "installed: $$($(BIN)/python -m pip list --disable-pip-version-check 2>/dev/null | wc -l) packages"

run: $(STAMP)  ## real S&P 500 data, a small real HPO matrix through queue and worker, the results; then a study of a function
	@$(BIN)/fts demo
	@echo
	@echo "a study of another kind: the function in examples/function/digits.py, two cells, six trials each"
	@$(BIN)/fts enqueue examples/function/digits.py:objective --trials 6 -m activation=relu,tanh --direction maximize --metric accuracy
	@$(BIN)/fts worker --until-empty
	@$(BIN)/fts results digits

# Five on two cores: half of the time of most story tests is waiting for a process to start, stop or be noticed.
# No restart: after one, xdist 3 waits for ever for a file that nobody has.
test: $(STAMP)  ## the test suite (ten minutes on 2 cores)
	@echo "running the tests (the long chaos and soak runs are in make test-slow)"
	@$(BIN)/python -m pytest -n 5 --dist loadfile --max-worker-restart 0

test-slow: $(STAMP)  ## long chaos, soak and 2B runs (hours)
	@$(BIN)/python -m pytest -m slow

test-cluster: $(RAY)/.installed  ## trials on real Slurm, Ray and sshd on this machine (root on Debian installs Slurm and sshd)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v slurmd >/dev/null && [ ! -x /usr/sbin/slurmd ]; then \
		apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge openssh-server openssh-client; fi
	@$(RAY)/bin/python -m pytest -m 'slow or not slow' -rs tests/cluster tests/executors

$(RAY)/.installed: $(STAMP)
	@echo "installing Ray beside the environment, in $(RAY) (a minute, once)"
	@$(BIN)/python -m venv $(RAY)
	@$(RAY)/bin/python -m tests.beside $(abspath $(BIN))/python
	@$(RAY)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt ray || echo "Ray cannot be installed here: its tests are skipped" >&2
	@touch $@

test-others: $(OTHERS)/.installed  ## the examples of every library, MLflow's server, W&B, Jupyter, and the pages in Chromium (half an hour)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get install -y --no-install-recommends chromium r-base-core; fi
	@FTS_LIBRARIES=$(abspath $(OTHERS))/bin/python $(OTHERS)/bin/python -m pytest -m 'slow or not slow' -rs \
		tests/mirrors tests/test_examples.py tests/test_reading.py tests/test_site.py tests/report/test_look.py

$(OTHERS)/.installed: $(STAMP)
	@echo "installing the libraries of the examples and mirrors beside the environment, in $(OTHERS) (two minutes, once)"
	@$(BIN)/python -m venv $(OTHERS)
	@$(OTHERS)/bin/python -m tests.beside $(abspath $(BIN))/python
	@$(OTHERS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt accelerate keras lightgbm lightning transformers xgboost
	@$(OTHERS)/bin/python -m pip install --quiet --disable-pip-version-check mlflow flask-wtf wandb optuna-dashboard nbclient ipykernel duckdb
	@touch $@

check: $(STAMP)  ## ruff, mypy --strict, and the test that draws the direction of imports (about a minute)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests/test_layout.py

package: $(STAMP)  ## build the wheel, install it in a fresh environment, run a study there (under a minute)
	@$(BIN)/python -m tests.wheel

docs: $(STAMP)  ## these pages as a site in build/site, which opens without a network
	@$(BIN)/python -m tests.reference
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html; with search: $(BIN)/python -m http.server --directory build/site"

verify: $(STAMP)  ## check the environment and the data manifests, in words
	@$(BIN)/fts doctor
	@$(BIN)/fts data verify

tui: $(STAMP)  ## the monitor
	@$(BIN)/fts-tui

report: $(STAMP)  ## outputs/report/index.html from what is in the database
	@$(BIN)/fts report

bench: $(STAMP)  ## measure this machine, write benchmarks/results.md
	@$(BIN)/python -m benchmarks

sentences:  ## every sentence the product can say, for review and translation, in build/sentences.txt
	@mkdir -p build
	@$(BIN)/python -m tests.sentences > build/sentences.txt
	@wc -l build/sentences.txt

clean:  ## remove .venv and caches; data/ and outputs/ stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
