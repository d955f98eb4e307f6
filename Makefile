# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
SYSTEM := libgl1 libglib2.0-0 ffmpeg mosquitto iproute2 janus chromium gstreamer-rtsp-server prometheus systemd
DATA ?= ../shared/data
# One more than cores: most tests wait for something.
WORKERS ?= $(shell expr $$(nproc) + 1)

# Coverage is counted by what is pure alone: that proves more of it, and counting makes everything else half as slow again.
define tests
$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --cov --cov-report=term-missing:skip-covered tests/pipeline
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --ignore tests/pipeline
endef

.PHONY: demo test check audit bench train screenshots chaos soak fuzz system clean

demo: .venv/demo
	$(BIN)/attuned demo

test: .venv/dev system
	$(tests)

check: .venv/dev system
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(tests)

# Known weaknesses of what is installed, or, without a network, whether it is what is pinned.
audit: .venv/dev
	$(BIN)/python scripts/audit.py

bench: .venv/dev
	$(BIN)/attuned bench

train: .venv/dev
	$(BIN)/python -m models.training all --data $(DATA) --out models/weights

screenshots: .venv/dev
	@sh scripts/system.sh chromium ffmpeg
	$(BIN)/python docs/screenshots.py

# Slow ones, by hand and as root: each writes its figures into benchmarks/, with today's date.
MINUTES ?= 30
SECONDS ?= 600

chaos: .venv/dev system
	@sh scripts/system.sh faketime
	$(BIN)/python benchmarks/chaos.py

soak: .venv/dev system
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES)

fuzz: .venv/dev
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,fuzz]'
	$(BIN)/python benchmarks/fuzz.py --seconds $(SECONDS)

# What is installed is remembered in a file, so that a second call costs nothing.
.venv/demo: pyproject.toml constraints.txt | libraries
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[demo]'
	@touch $@

.venv/dev: pyproject.toml constraints.txt | libraries
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ .venv/demo

.PHONY: libraries
libraries:
	@PYTHON=$(PYTHON) sh scripts/system.sh libgl1 libglib2.0-0 python3-venv

system:
	@sh scripts/system.sh $(SYSTEM)

clean:
	rm -rf .venv build *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
