# make demo    train, evaluate and draw on real images (or synthetic ones without a network)
# make test    the tests;  make test-slow  quick schedules and every documented command
# make lint    ruff: rules and format
# make docs    the documentation as pages for a browser, in output/site
# make bench   forward and training time of every lite config; of a picture, a start, a busy CPU
# make fuzz    broken input and kills, the whole: results/fuzz.json and results/kills.json (hours)
# make audit   known vulnerabilities of requirements.lock; left out where nobody can be asked
# make wheels DIR=folder   collect what a computer without a network needs
# Each but the last first builds .venv from requirements.lock, when it is missing or older;
# with WHEELS=folder from what `make wheels` collected, without a network.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# .venv's own Python when there is one, unless another is asked for.
CHOSEN = $(if $(filter file,$(origin PYTHON)),$(shell $(BIN)/python -c "" 2>/dev/null && \
	echo $(BIN)/python || echo $(PYTHON)),$(PYTHON))
# A process with one thread for each core; files stay whole, so that what they share is made once.
# A process that dies ends the run: xdist would wait forever for the rest of its file.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile \
	--no-loadscope-reorder --max-worker-restart 0 --durations 10

.PHONY: demo test test-slow lint format docs bench fuzz audit lock install wheels supported clean

demo: install
	$(BIN)/python tools/quickstart.py

test: install
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-slow: install
	$(PYTEST) -m slow $(PYTEST_ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A warning, as of a link that leads nowhere, is an error.
docs: install
	$(BIN)/python -m sphinx -W --keep-going -q -d output/site_cache -c docs/site . output/site
	@echo "Open output/site/index.html in a browser."

bench: install
	$(BIN)/python tools/benchmark.py
	$(BIN)/python tools/benchmark_drawing.py
	$(BIN)/python tools/time_startup.py
	$(BIN)/python tools/time_busy.py

fuzz: install
	$(BIN)/python tools/fuzz.py formats images checkpoints studies requests --count 10000 \
		--output results/fuzz.json --page docs/reliability.md
	$(BIN)/python tools/kill_test.py --kills 100 --output results/kills.json \
		--page docs/reliability.md

audit: install
	$(BIN)/python -m pip install --quiet pip-audit || true
	$(BIN)/python tools/audit.py

install: supported
	@$(CHOSEN) tools/install.py $(if $(WHEELS),--wheels "$(WHEELS)")

wheels: supported
	@test -n "$(DIR)" || { echo "The folder is missing: make wheels DIR=folder" >&2; exit 2; }
	@$(CHOSEN) tools/install.py --collect "$(DIR)"

supported:
	@$(CHOSEN) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 14) else \
	"Python 3.10 to 3.14 is needed and $(CHOSEN) is %d.%d: run make PYTHON=/path/to/python3.11" % v)'

# Needs uv (pip install uv). Resolves once for all supported versions of Python.
lock:
	uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate \
		--no-emit-index-url --custom-compile-command "make lock" requirements.in -o requirements.lock

clean:
	rm -rf $(VENV) output
