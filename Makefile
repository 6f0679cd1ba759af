# Needs Python 3.11 and make. Every target first makes .venv with the pinned packages of requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
CELLS ?= 1e8
# What was compiled is kept, also where the environment says not to: each of the processes of the tests would compile it again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo leak forecast fraud test test-all check crash fuzz bench soak prove lock format clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/  /'

.venv/ready: requirements.lock pyproject.toml
	@echo "== making .venv with the pinned packages (about a minute, once)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-warn-script-location --no-compile -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@-$(BIN)/python -m compileall -qq -j 0 .venv/lib  # on all cores, where pip compiles on one
	@touch $@

setup: .venv/ready  ## make .venv

demo: .venv/ready  ## run a production ML system through a year of real flights (4 to 10 minutes)
	$(BIN)/python -m examples.flights.demo --out build $(ARGS)

leak: .venv/ready  ## show the usual leak: better offline, worse live, and its cure (about a minute)
	$(BIN)/python -m examples.flights.leak --out build/leak.json --home build/leak $(ARGS)

forecast: .venv/ready  ## forecast the late flights of the next six hours, every hour, and live four months with it (about a minute)
	$(BIN)/python -m examples.flights.forecast --out build/forecast.json --home build/forecast --page build/forecast.html $(ARGS)

fraud: .venv/ready  ## late labels: five models by a published protocol, a forgotten delay, payments live, two rollouts (about 4 minutes)
	$(BIN)/python -m examples.fraud.protocol --out build/fraud.json --home build/fraud $(ARGS)
	$(BIN)/python -m examples.fraud.forgot --out build/fraud-forgot.json --home build/fraud-forgot $(ARGS)
	$(BIN)/python -m examples.fraud.live --out build/fraud-live.json --home build/fraud-live $(ARGS)
	$(BIN)/python -m examples.fraud.rollout --out build/fraud-rollout.json --home build/fraud-rollout $(ARGS)

test: .venv/ready  ## unit, contract, property, example and document tests
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow and not crash" $(ARGS)

test-all: .venv/ready  ## all of them: with those that take long and those that kill processes
	TENFOLD_TEST_ALL=1 $(BIN)/python -m pytest -q -n auto --dist worksteal $(ARGS)

check: .venv/ready  ## format, lint, import rules, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: .venv/ready  ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

crash: .venv/ready  ## kill -9 the worker and the server at random points and compare the final state
	$(BIN)/python -m tests.crash.kill $(ARGS)

fuzz: .venv/ready  ## send a server thousands of requests made from its own description, and hostile ones (SEED=n for others)
	$(BIN)/python -m pytest -q -m "slow or not slow" tests/examples/test_fuzz.py $(ARGS)

bench: .venv/ready  ## measure speed and memory beside peers in the same run (ARGS="NAME ... --rows N"; all takes about 20 minutes)
	$(BIN)/python -m bench $(ARGS)

soak: .venv/ready  ## ten minutes at 70 % of what a server takes: no failure, steady memory (build/soak.html)
	$(BIN)/python -m bench.soak $(ARGS)

prove: .venv/ready  ## compare CELLS feature values, computed in several ways, to the bit (1e8: about 7 minutes)
	$(BIN)/python -m tests.prove --cells $(CELLS) $(ARGS)

lock:  ## pin the dependencies again (needs uv)
	uv pip compile pyproject.toml --all-extras --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -o requirements.lock

clean:  ## remove what the other targets made
	rm -rf .venv build
