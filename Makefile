# make demo    train, evaluate and draw on real images (or synthetic ones without a network)
# make test    the tests;  make test-slow  quick schedules and every documented command
# make lint    ruff: rules and format
# make bench   forward and training time of every lite config
# Each builds .venv from requirements.lock first, when it is missing or older than the lock.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# A process with one thread for each core; files stay whole, so that what they share is made once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile \
	--no-loadscope-reorder --durations 10

.PHONY: demo test test-slow lint format bench lock install clean

demo: $(READY)
	$(BIN)/python tools/quickstart.py

test: $(READY)
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-slow: $(READY)
	$(PYTEST) -m slow $(PYTEST_ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python tools/benchmark.py

install: $(READY)

$(READY): requirements.lock setup.py tools/install_detectron2.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 12) else \
	"Python 3.10 to 3.12 is needed and $(PYTHON) is %d.%d: run make PYTHON=/path/to/python3.11" % v)'
	@echo "== Installing into $(VENV): PyTorch is large, the first time takes some minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --progress-bar on -r requirements.lock
	$(BIN)/python tools/install_detectron2.py
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(READY)

# Needs uv (pip install uv). Resolves once for all supported versions of Python.
lock:
	uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate \
		--no-emit-index-url --custom-compile-command "make lock" requirements.in -o requirements.lock

clean:
	rm -rf $(VENV) output
