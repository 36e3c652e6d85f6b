# Two commands do all the set-up: `make leaderboard` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: leaderboard test check check-extras gate lint benchmark results pages findings backbones clean

leaderboard: $(READY)
	$(BIN)/fewgen run quick

# One test process per core, each with one thread. Tests of a file share what they prepare; slow
# tests are so unlike in length that each goes to the process that is free.
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2> /dev/null || echo 2)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --benchmark-disable

test: lint
	$(PYTEST) --dist loadfile

check: gate
	$(PYTEST) --dist load --maxschedchunk 1 -m 'slow and not alone' \
	  --ignore tests/performance
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m alone tests  # they time; nothing beside them

# What needs a browser, a server, a cluster or a tracker; tests of what is not installed are skipped.
check-extras: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs -m extras || [ $$? -eq 5 ]  # 5: all skipped

# The working tree against the commit before its own, run in turn; what cannot be decided warns.
RUNS := bench suites baselines pyproject.toml constraints.txt
gate: $(READY)
	@git rev-parse --quiet --verify 'HEAD~1^{commit}' > /dev/null 2>&1 \
	  || { echo "gate: no commit before this one here; skipped"; exit 0; }; \
	! git diff --quiet HEAD~1 -- $(RUNS) || [ -n "$$(git status --porcelain -- $(RUNS))" ] \
	  || { echo "gate: nothing that a run depends on has changed; skipped"; exit 0; }; \
	$(BIN)/fewgen compare --interleave HEAD~1 . --rounds 4 || { code=$$?; [ $$code -eq 3 ] \
	  && echo "gate: warning: inconclusive" || exit $$code; }

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(READY)
	$(BIN)/python -m pytest -q -m slow tests/performance --benchmark-only
	$(BIN)/fewgen time --peers --pairs 3

# Runs what is published again and rewrites its records and pages. `make results PRESET=full` takes
# 53 minutes on two cores, where quick takes seven, and its records are some six times as large.
PRESET ?= quick
results: $(READY)
	rm -rf build/results/$(PRESET)
	start=$$(date +%s) && $(BIN)/fewgen run $(PRESET) --out build/results/$(PRESET) && \
	took=$$(($$(date +%s) - start)) && $(BIN)/python scripts/publish_results.py \
	  build/results/$(PRESET) --took "$$((took / 60)) min $$((took % 60)) s without the install"

# The same pages from the records that are here.
pages: $(READY)
	$(BIN)/python scripts/publish_results.py
	$(BIN)/python results/timing/table.py

# The studies at full size, each sized for 45 minutes on two cores, and their pages; goes on where it
# was stopped. STUDIES=crossover makes one.
STUDIES := crossover transfer probes cost instruments
findings: $(READY)
	for name in $(STUDIES); do \
	  $(BIN)/fewgen study $$name --size full --out build/findings/$$name && \
	  $(BIN)/python scripts/publish_findings.py build/findings/$$name $$name || exit 1; \
	done

# The pre-trained backbones that ship with the package, made anew; goes on where it was stopped.
BACKBONES := tiny tiny-gpt2 tiny-t5 tiny-lstm tiny-gru
SUITES := --suites translation,summarization,dialogue,writing
backbones: $(READY)
	for name in $(BACKBONES); do \
	  $(BIN)/fewgen pretrain $(SUITES) --backbone $$name --threads 1 --out build/backbones/$$name && \
	  cp build/backbones/$$name/* bench/backbones/$$name/ || exit 1; \
	done

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .hypothesis .benchmarks
	rm -rf results/quick results/smoke results/full results/run results/studies
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed anew when what it installs changes. The interpreter is checked first, so that an old
# one is told about in one line.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; run make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,peers]'
	@touch $@
