# The whole ritual: make demo, make test, make lint, make bench.
PY = .venv/bin/python

.PHONY: demo test test-all dojo mutants lint format bench lock schema setup setup-test clean

demo: setup        ## The main job, without a key and without a network: kill -9 in the middle included
	@$(PY) scripts/demo.py

test: setup-test   ## Everything that fits ten minutes
	@$(PY) -m pytest -n 2 --dist loadfile -m "not slow"

test-all: setup-test  ## The long sets too
	@HYPOTHESIS_PROFILE=long $(PY) -m pytest -n 2 --dist loadfile

dojo: setup-test   ## AgentDojo's 949 attacks on a model that obeys them all, and its 97 tasks without
	@$(PY) scripts/dojo.py

mutants: setup-test  ## Every line that upholds a guarantee has a test that fails without it
	@$(PY) scripts/mutants.py

lint: setup-test
	@$(PY) -m ruff format --check src tests scripts benchmarks
	@$(PY) -m ruff check src tests scripts benchmarks
	@$(PY) -m mypy
	@.venv/bin/lint-imports --no-cache

format: setup-test
	@$(PY) -m ruff format src tests scripts benchmarks
	@$(PY) -m ruff check --fix src tests scripts benchmarks

bench: setup-test  ## Against peers, in the same run; --write-docs puts the tables into docs/benchmarks.md
	@$(PY) -m benchmarks

lock: setup-test   ## Resolve the dependencies anew; records no registry
	@$(PY) scripts/lock.py

schema: setup-test ## Write docs/schema from the models
	@PERDURE_WRITE_SCHEMAS=1 $(PY) -m pytest tests/agents/test_schema.py tests/guard/test_schema.py

setup:
	@scripts/setup run

setup-test:
	@scripts/setup test

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache tests/counterparts/node_modules
