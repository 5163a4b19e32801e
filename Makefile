# Two commands matter: `make report` (audit a shipped leader) and `make test` (lint, types, import rules, tests).
# Both build the environment on first use, are safe to repeat, and are fast the second time.

PYTHON ?= python3
VENV   ?= .venv
LEADER ?= zoo:maintain
OUT    ?= reports-out
JOBS   ?= 2
PYTEST_ARGS ?=

BIN   := $(VENV)/bin
STAMP := $(VENV)/.spverify-installed

# Tiny networks and small linear algebra: more threads than one only make them slower.
export OMP_NUM_THREADS ?= 1

.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help setup report test lint types imports pytest docs format clean

help:
	@echo "make report   audit a shipped leader (LEADER=$(LEADER)) into OUT=$(OUT), and say where the report is"
	@echo "make test     lint, types, import rules and tests"
	@echo "make docs     the documentation as a site, in build/site"
	@echo "make setup    only build the environment in $(VENV)"
	@echo "make format   let ruff rewrite the code in house style"
	@echo "make clean    remove the environment and everything built"

setup: $(STAMP)

# The stamp is written last, so that an interrupted set-up is simply taken up again.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "spverify needs Python 3.11 or newer, and '$(PYTHON)' is not: try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x "$(BIN)/python" || $(PYTHON) -m venv "$(VENV)" || \
	  { echo "could not create a virtual environment: on Debian and Ubuntu, install python3-venv first" >&2; exit 2; }
	PYTHONWARNINGS=ignore "$(BIN)/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch "$@"

# Exit 1 (something refuted) and 3 (inconclusive) are normal outcomes of an audit: the report says what and why.
report: $(STAMP)
	@"$(BIN)/python" -m spverify report "$(LEADER)" --out "$(OUT)"; code=$$?; \
	case $$code in \
	  0) said="holds: every required statement was upheld" ;; \
	  1) said="refuted: a required statement does not hold" ;; \
	  3) said="inconclusive: nothing refuted, but something required could not be decided" ;; \
	  *) echo "the audit could not be made (exit code $$code)" >&2; exit $$code ;; \
	esac; \
	echo; echo "Verdict: $$said."; echo "Report:  $(abspath $(OUT))/report.html"

test: lint types imports pytest

lint: $(STAMP)
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .

# The root is the package, so mypy looks at it through a link that bears the package's name.
types: $(STAMP)
	@mkdir -p .typecheck && ln -sfn .. .typecheck/spverify
	cd .typecheck && "$(abspath $(BIN))/mypy" --config-file ../pyproject.toml -p spverify

imports: $(STAMP)
	"$(BIN)/lint-imports"

pytest: $(STAMP)
	"$(BIN)/python" -m pytest -n $(JOBS) $(PYTEST_ARGS)

# The tools of the site are the extra "docs"; with them installed, building it needs no network.
docs: $(STAMP)
	@"$(BIN)/python" -c 'import material, mkdocstrings_handlers.python' 2>/dev/null || \
	  "$(BIN)/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 "$(BIN)/python" -m mkdocs build --strict --quiet
	@echo "Documentation: $(abspath build/site)/index.html"

format: $(STAMP)
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .

clean:
	rm -rf "$(VENV)" .typecheck build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
