# make setup   packages, virtual environment, CRIU (every target below does this first; quick when done)
# make demo    two hosts on this machine, a live Redis moved between them and back
# make test    unit tests, then the root tests with real CRIU, sshd, redis and hosts
# make check   linters, types, import map
# make bench   all benchmarks in their short form, some 13 minutes; their report is in bench-results/.
#              make bench FORM=--full: all of them, hours
# make test-vm two virtual machines with a stock kernel, made by make setup-vm; some minutes
# make soak    200 containers at once, and every command killed at 60 of its lines, some 10 minutes; 200
#              moves of a program that does everything to its memory, some 5 minutes; the whole
#              matrix of faults (tests/move/faults), over an hour; ten moves in each network; then 30
#              containers evacuated under load, and with the operator killed 20 times, 20 minutes
# make fuzz    every fuzzer (tests/fuzz) for ten minutes, two hours in all
# make clean   everything that the above left in this checkout

PYTHON ?= python3
BIN := .venv/bin
RESULTS := bench-results
PLAIN := not root and not criu and not hosts and not vm
REAL := not ($(PLAIN)) and not vm

.PHONY: setup demo test setup-vm test-vm check bench fuzz soak clean

setup:
	@$(PYTHON) scripts/setup.py

demo: setup
	@$(BIN)/python -m tests.hosts sweep
	@$(BIN)/python examples/demo.py

# Root tests: files in their own order, not the ones with most tests first. What is last is short
# then, and both workers end at about the same time.
test: setup
	@d=$$(mktemp -d /tmp/mt.XXXX) && trap 'rm -rf "$$d"' EXIT && trap 'exit 130' INT TERM && \
	export TMPDIR="$$d" && \
	$(BIN)/pytest -q -n 4 --basetemp="$$d/p" -m "$(PLAIN)" && \
	$(BIN)/python -m tests.hosts sweep && \
	$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder --basetemp="$$d/p" -m "$(REAL) and not alone" && \
	$(BIN)/pytest -q --basetemp="$$d/p" -m "$(REAL) and alone"

setup-vm: setup
	@$(BIN)/python scripts/setup_vm.py

test-vm: setup-vm
	@d=$$(mktemp -d /tmp/mt.XXX) && trap 'rm -rf "$$d"' EXIT && trap 'exit 130' INT TERM && \
	export TMPDIR="$$d" && $(BIN)/pytest -q --basetemp="$$d/p" -m vm tests/vm

check: setup
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports > .lint-imports.log || { cat .lint-imports.log; rm -f .lint-imports.log; false; }
	@rm -f .lint-imports.log

bench: setup
	@$(BIN)/migrate bench run $(FORM) --directory $(RESULTS); code=$$?; \
	$(BIN)/migrate bench report $(RESULTS) --html $(RESULTS)/report.html --plots $(RESULTS)/plots && \
	exit $$code

fuzz: setup
	@$(BIN)/python -m tests.fuzz

soak: setup
	@$(BIN)/python -m tests.hosts sweep
	@$(BIN)/python -m tests.runtime.many
	@$(BIN)/python -m tests.move.soak
	@$(BIN)/python -m tests.move.faults.soak
	@MIGRATE_NETWORK_MOVES=10 $(BIN)/pytest -q tests/move/networks
	@$(BIN)/python -m tests.evacuate.soak --json .evacuation-soak.json

clean:
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m tests.hosts sweep; fi
	@rm -rf fuzz-findings .venv .vm-cache .criu.lock .evacuation-soak.json .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build $(RESULTS)
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
