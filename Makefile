# The front door of tokenswarm. Every target calls the command line; `make help` lists them.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip install -qq --disable-pip-version-check
# Threads of linear algebra wait for each other in a loop, and these matrices are small: on a busy machine they take
# several times as long with two threads as with one.
PYTEST  = OPENBLAS_NUM_THREADS=$(or $(OPENBLAS_NUM_THREADS),1) $(PY) -m pytest -q $(if $(FAILED),--last-failed --last-failed-no-failures none)
RUN    ?=
# Python caches compiled modules, whatever the environment says: else each process of a run compiles hundreds of them.
unexport PYTHONDONTWRITEBYTECODE
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' tokenswarm/__init__.py)

# A value quoted for the shell, whatever it holds; and an option that is given only where its variable is set.
quote  = '$(subst ','"'"',$(1))'
option = $(if $(value $(2)),$(1) $(call quote,$(value $(2))))

RUN_OPTIONS = $(call option,--engine,ENGINE) $(call option,--scenario,SCENARIO) $(call option,--host,HOST) \
  $(call option,--endpoint,ENDPOINT) $(call option,--model,MODEL) $(call option,--device,DEVICE) $(call option,--runtime,RUNTIME) $(call option,--users,USERS) \
  $(call option,--spawn-rate,SPAWN_RATE) $(call option,--rate,RATE) $(call option,--duration,DURATION) \
  $(call option,--workers,WORKERS) $(call option,--seed,SEED) $(call option,--corpus,CORPUS) \
  $(call option,--data,DATA) $(call option,--results,RESULTS) $(call option,--label,LABEL) $(call option,--set,SET) $(call option,--gpu-hourly-cost,GPU_HOURLY_COST) \
  $(call option,--metrics-port,METRICS_PORT) $(call option,--metrics-host,METRICS_HOST) $(if $(KEEP),--keep)

LOAD_OPTIONS = $(RUN_OPTIONS) $(call option,--baseline,BASELINE) $(if $(STRICT),--strict) $(if $(FAIL_ON_DRIFT),--fail-on-drift)

CAPACITY_OPTIONS = $(RUN_OPTIONS) $(call option,--of,OF) $(call option,--budget,BUDGET) \
  $(call option,--precision,PRECISION) $(call option,--at-least,AT_LEAST) $(call option,--resume,RESUME) \
  $(call option,--target,TARGET) $(call option,--max-requests,MAX_REQUESTS) $(call option,--max-usd,MAX_USD) \
  $(call option,--tiers,TIERS) $(if $(DRY_RUN),--dry-run)

COMPARE_OPTIONS = $(call option,--engines,ENGINES) $(call option,--repeats,REPEATS) $(call option,--a-host,A_HOST) \
  $(call option,--b-host,B_HOST) $(call option,--a-model,A_MODEL) $(call option,--b-model,B_MODEL) \
  $(call option,--a-set,A_SET) $(call option,--b-set,B_SET) $(call option,--model,MODEL) $(call option,--runtime,RUNTIME) \
  $(call option,--device,DEVICE) $(call option,--users,USERS) $(call option,--rate,RATE) \
  $(call option,--duration,DURATION) $(call option,--workers,WORKERS) $(call option,--seed,SEED) \
  $(call option,--corpus,CORPUS) $(call option,--results,RESULTS) $(call option,--set,SET) \
  $(call option,--gpu-hourly-cost,GPU_HOURLY_COST) $(call option,--margin,MARGIN) $(call option,--run-spread,RUN_SPREAD) \
  $(call option,--budget,BUDGET) $(if $(ALL_PAIRS),--all-pairs)

ONE_SHOT_OPTIONS = $(call option,--prompt,PROMPT) $(call option,--context,CONTEXT) $(call option,--engines,ENGINES) $(call option,--host,HOST) \
  $(call option,--a-host,A_HOST) $(call option,--b-host,B_HOST) $(call option,--a-model,A_MODEL) $(call option,--b-model,B_MODEL) \
  $(call option,--a-set,A_SET) $(call option,--b-set,B_SET) $(call option,--model,MODEL) $(call option,--runtime,RUNTIME) \
  $(call option,--device,DEVICE) $(call option,--scenario,SCENARIO) $(call option,--set,SET) $(call option,--repeats,REPEATS) \
  $(call option,--max-tokens,MAX_TOKENS) $(call option,--margin,MARGIN) $(call option,--results,RESULTS)

CLAIMS_OPTIONS = $(call option,--engines,ENGINES) $(call option,--only,ONLY) $(if $(LIST),--list) $(if $(DRY_RUN),--dry-run) \
  $(if $(value VLLM_HOST),--host $(call quote,vllm=$(value VLLM_HOST))) $(if $(value SGLANG_HOST),--host $(call quote,sglang=$(value SGLANG_HOST))) \
  $(call option,--gpu,GPU) $(call option,--gpus,GPU_COUNT) $(if $(ANY_GPU),--any-gpu) $(if $(ANYWAY),--anyway) $(call option,--model,MODEL) \
  $(call option,--data,DATA) $(call option,--runtime,RUNTIME) $(call option,--device,DEVICE) $(call option,--set,SET) $(call option,--results,RESULTS)

.DEFAULT_GOAL := help
.PHONY: help install load soak ui test-ui observe compare capacity qualify tune sim report profile scenarios calibrate test test-slow test-alone test-browser test-engines up down status logs tiny-model engine-venv image test-compose test-observe test-statistics lint digests sbom docs schemas bench clean results prune
.PHONY: oneshot claims export import

help: ## show this list
	@echo "usage: make TARGET [VARIABLE=value ...]"; echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1	\2/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  %-15s %s\n", $$1, $$2}'
	@echo
	@echo "variables of load:"
	@echo "  ENGINE         sim (default), vllm, sglang, external     SCENARIO    rag (default), chat, batch, reasoning, dataset, replay, FILE.toml"
	@echo "  HOST           URL of a server that runs already         MODEL       model to start or to ask for"
	@echo "  ENDPOINT       what HOST wants: openai, azure, vllm, ollama, ... or FILE.toml (docs/endpoints.md)"
	@echo "  USERS          concurrent users (closed loop)            SPAWN_RATE  users started per second"
	@echo "  RATE           requests per second (open loop)           DURATION    30s, 20m, 8h"
	@echo "  WORKERS        load-generating processes                 SEED        same seed, same prompts"
	@echo "  CORPUS         folder of .txt, .md, .jsonl               RESULTS     where run folders go (results)"
	@echo "  DATA           file of prompts or a trace, for SCENARIO=dataset and replay (docs/traffic.md)"
	@echo "  DEVICE         cpu or cuda, of an engine started here    API_KEY     of the endpoint; best exported beforehand"
	@echo "  RUNTIME        docker or local; docker where it can hand out a GPU   GPUS   0,1 (docker: all by default)"
	@echo "  GPU_HOURLY_COST  dollars per GPU and hour: what tokens and requests cost"
	@echo "  BASELINE       an earlier run folder: a regression against it is a missed gate"
	@echo "                 last:5 = the last five valid runs of the same kind          LABEL       your own name for the run"
	@echo "  METRICS_PORT   serve live metrics for Prometheus there (docs/observe.md)   METRICS_HOST  127.0.0.1"
	@echo "  STRICT         1: an SLO that is undetermined counts as missed"
	@echo "  FAIL_ON_DRIFT  1: what became worse over the run is a missed gate (5 minutes or more)"
	@echo "  KEEP           1: leave the engine running; the next load takes it over (make status, make down)"
	@echo "  SET            any scenario values: SET=\"load.users=200 slo.ttft_p95_ms=400\""

install: $(VENV)/.installed ## make the virtual environment

# Exactly the packages of requirements/, each checked against its hash; then this checkout, which brings none itself.
$(VENV)/.installed: pyproject.toml setup.py requirements/build.txt requirements/run.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "tokenswarm needs Python 3.11 or newer; this is `$(PYTHON) --version`. Name another one: make PYTHON=python3.12 ..." >&2; exit 2; }
	@echo "installing tokenswarm into $(VENV) (once, a minute or two) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PY) requirements/install.py requirements/build.txt requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@$(PY) -c 'import locust, tokenswarm' && touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements/dev.txt
	@echo "installing what the tests need ..."
	@$(PY) requirements/install.py requirements/dev.txt
	@$(PY) -c 'import hypothesis, pytest, xdist' && touch $@

load: $(VENV)/.installed ## start an engine, load it, write a dashboard (PRINT_CONFIG=1: check and print the scenario, run nothing)
	@$(PY) -m tokenswarm load $(LOAD_OPTIONS) $(if $(PRINT_CONFIG),--print-config)

soak: $(VENV)/.installed ## an unattended run of hours: DURATION=8h [ABORT_ERROR_RATE=0.5] [GRACE=30s], and what load takes
	@$(PY) -m tokenswarm soak $(LOAD_OPTIONS) $(call option,--abort-error-rate,ABORT_ERROR_RATE) $(call option,--grace,GRACE)

sim: $(VENV)/.installed ## start the engine simulator alone (ARGS="--port 8088 ...")
	@$(PY) -m tokenswarm sim $(ARGS)

ui: $(VENV)/.installed ## Locust's web UI with live LLM figures: [WEB_PORT=8089], and what load takes
	@exec $(PY) -m tokenswarm ui $(LOAD_OPTIONS) $(call option,--web-host,WEB_HOST) $(call option,--web-port,WEB_PORT)

observe: ## Prometheus and Grafana in containers, beside runs with METRICS_PORT=9646: http://127.0.0.1:3000
	@docker compose version >/dev/null 2>&1 || { \
	  echo "make observe needs Docker with its compose plugin (Debian, Ubuntu: apt-get install docker-compose-v2)" >&2; exit 2; }
	@docker compose --file compose/compose.yaml --profile observe up --detach

compare: $(VENV)/.installed ## two engines in turn, repeated, with a verdict: SCENARIO= [ENGINES=vllm,sglang] [REPEATS=5] [BUDGET=2h] [MARGIN=0.05]
	@$(PY) -m tokenswarm compare --scenario $(call quote,$(or $(SCENARIO),rag)) $(COMPARE_OPTIONS)

oneshot: $(VENV)/.installed ## the same prompt on each engine: PROMPT="..." [ENGINES=vllm,sglang] [REPEATS=5] [HOST=] [A_HOST= B_HOST=] [CONTEXT=FILE] [MAX_TOKENS=256]
	@$(PY) -m tokenswarm oneshot $(ONE_SHOT_OPTIONS)

claims: $(VENV)/.installed ## published claims, tested on this machine: [ENGINES=vllm] [ONLY=name] [LIST=1] [DRY_RUN=1] [VLLM_HOST= SGLANG_HOST= GPU=H100 GPU_COUNT=1] [ANY_GPU=1] [ANYWAY=1]
	@$(PY) -m tokenswarm claims $(CLAIMS_OPTIONS)

qualify: $(VENV)/.installed ## how noisy this machine is: one engine against itself in pairs: SCENARIO= [PAIRS=5] [BUDGET=1h], and what load takes
	@$(PY) -m tokenswarm qualify $(LOAD_OPTIONS) $(call option,--pairs,PAIRS) $(call option,--budget,BUDGET)

results: $(VENV)/.installed ## all runs and series as a list, and results/index.html: [SCENARIO=] [ENGINE=] [LABEL=] [RESULTS=]
	@$(PY) -m tokenswarm results $(call quote,$(or $(RESULTS),results)) $(call option,--scenario,SCENARIO) \
	  $(call option,--engine,ENGINE) $(call option,--label,LABEL)

prune: $(VENV)/.installed ## remove old results: [OLDER_THAN=30d] [MOST=20G] [DRY_RUN=1] [RESULTS=]
	@$(PY) -m tokenswarm prune $(call quote,$(or $(RESULTS),results)) $(call option,--older-than,OLDER_THAN) \
	  $(call option,--most,MOST) $(if $(DRY_RUN),--dry-run)

tune: $(VENV)/.installed ## race settings of an engine: ENGINE= SCENARIO= [SPACE=] [OBJECTIVE=capacity] [ROUNDS=8] [PAIRS=5] [TASKS=400] [BUDGET=2h] [DRY_RUN=1] [RESUME=DIR]
	@$(PY) -m tokenswarm tune $(RUN_OPTIONS) $(call option,--space,SPACE) $(call option,--objective,OBJECTIVE) $(call option,--rounds,ROUNDS) $(call option,--pairs,PAIRS) \
	  $(call option,--tasks,TASKS) $(call option,--budget,BUDGET) $(call option,--resume,RESUME) $(if $(DRY_RUN),--dry-run)

capacity: $(VENV)/.installed ## the highest load within the SLOs: [OF=rate] [BUDGET=30m] [PRECISION=0.1] [AT_LEAST=40] [TIERS=] [DRY_RUN=1] [RESUME=], and what load takes
	@$(PY) -m tokenswarm capacity $(CAPACITY_OPTIONS)

.PHONY: decide
decide: $(VENV)/.installed ## engine, flags, capacity and price on one page: SCENARIO= [ENGINES=vllm,sglang] [MODEL=] [BUDGET=2h] [DRY_RUN=1] [RESUME=DIR]
	@$(PY) -m tokenswarm decide $(RUN_OPTIONS) $(call option,--engines,ENGINES) $(call option,--space,SPACE) \
	  $(call option,--rounds,ROUNDS) $(call option,--budget,BUDGET) $(call option,--resume,RESUME) \
	  $(if $(BY_THE_CLOCK),--by-the-clock) $(if $(DRY_RUN),--dry-run)

report: $(VENV)/.installed ## rebuild the summary and dashboard of a run: RUN=results/<run-id>
	@$(PY) -m tokenswarm report $(call quote,$(value RUN)) $(call option,--baseline,BASELINE) $(if $(STRICT),--strict) \
	  $(if $(FAIL_ON_DRIFT),--fail-on-drift)

export: $(VENV)/.installed ## a run as another tool's result file: RUN= FORMAT=vllm-bench|llm-d|aiperf [OUT=FILE]
	@$(PY) -m tokenswarm export $(call quote,$(value RUN)) --format $(call quote,$(value FORMAT)) $(call option,--out,OUT)

import: $(VENV)/.installed ## another tool's result file as a run folder, with its report: FILE=bench.json [OUT=DIR] [RESULTS=]
	@$(PY) -m tokenswarm import $(call quote,$(value FILE)) $(call option,--out,OUT) $(call option,--results,RESULTS)

profile: $(VENV)/.installed ## analyse a recorded workload, without an engine: DATA=prod.jsonl [FIELDS="prompt=question"] [TO=ours.toml: a scenario like it]
	@$(PY) -m tokenswarm profile $(call quote,$(value DATA)) $(call option,--fields,FIELDS) $(call option,--scenario,TO)

scenarios: $(VENV)/.installed ## list the scenarios, or check one without a run: [CHECK=my/own.toml]
	@$(PY) -m tokenswarm scenarios $(call option,--check,CHECK) $(call option,--data,DATA) $(call option,--set,SET)

calibrate: $(VENV)/.installed ## how much load one worker of this machine can time to within 2 ms
	@$(PY) -m tokenswarm calibrate

up: $(VENV)/.installed ## start an engine and leave it running: ENGINE= [MODEL=] [SCENARIO=] [RUNTIME=] [DEVICE=] [GPUS=]
	@$(PY) -m tokenswarm engine up --engine $(call quote,$(ENGINE)) $(call option,--model,MODEL) \
	  $(call option,--scenario,SCENARIO) $(call option,--runtime,RUNTIME) $(call option,--device,DEVICE) $(call option,--set,SET)

down: $(VENV)/.installed ## stop engines that were left running: [ENGINE=]
	@$(PY) -m tokenswarm engine down $(call option,--engine,ENGINE)

status: $(VENV)/.installed ## engines that run, and their effective configuration: [ENGINE=]
	@$(PY) -m tokenswarm engine status $(call option,--engine,ENGINE)

logs: $(VENV)/.installed ## the log of a running engine: [ENGINE=]
	@$(PY) -m tokenswarm engine logs $(call option,--engine,ENGINE)

tiny-model: $(VENV)/.installed ## make the tiny random model that engines serve on a CPU
	@$(PY) -m tokenswarm engine tiny-model

engine-venv: $(VENV)/.installed ## install a real engine for use without Docker: ENGINE=vllm|sglang|llamacpp [DEVICE=cpu|cuda]
	@$(PY) -m tokenswarm engine install --engine $(call quote,$(ENGINE)) $(call option,--device,DEVICE)

test: $(VENV)/.installed-dev ## the default tests: no whole runs, a minute or two
	@$(PYTEST) -n 2 --dist loadfile tests -m "not browser and not ui and not engine and not compose and not statistics and not observe and not slow"

test-slow: $(VENV)/.installed-dev ## whole runs with several processes
	@$(PYTEST) -n 3 --dist loadscope tests -m slow $(ALONE:%=--ignore %)

# A comparison wants valid runs, and those want a quiet machine.
ALONE = tests/package tests/e2e/test_task_pages.py
test-alone: $(VENV)/.installed-dev ## the wheel in an empty folder, and the pages by task: on a quiet machine
	@$(PYTEST) $(ALONE) -m slow

test-browser: $(VENV)/.installed-dev ## open dashboards in headless Chromium, and check them for accessibility
	@sh tests/browser/need_chromium.sh
	@sh tests/browser/need_axe.sh
	@$(PYTEST) tests/browser

test-ui: $(VENV)/.installed-dev ## runs in Locust's web UI, in headless Chromium
	@sh tests/browser/need_chromium.sh
	@$(PYTEST) tests/ui

test-engines: $(VENV)/.installed-dev ## the contract of real engines on this CPU: ENGINE=vllm|sglang|llamacpp, the first two by default [WITHOUT="FILE ..."]
	@$(PYTEST) -x tests/real_engines $(if $(ENGINE),--engine $(call quote,$(ENGINE))) $(foreach file,$(WITHOUT),--ignore $(file))

.PHONY: test-decision
test-decision: $(VENV)/.installed-dev ## a race and a decision on real engines on this CPU (half an hour)
	@$(PYTEST) -x tests/real_engines/test_decision.py

test-compose: $(VENV)/.installed-dev ## Compose profiles and engines in containers (needs Docker; BASE=, OFFLINE= as for image)
	@$(PYTEST) -rs tests/compose

image: $(VENV)/.installed ## build the project's container image (IMAGE=name:tag, BASE=image, OFFLINE=1: no network in the build)
	@$(if $(OFFLINE),$(PY) compose/image/packages.py download,rm -rf) compose/image/wheels
	@docker build --quiet --file compose/image/Dockerfile $(if $(BASE),--build-arg BASE=$(call quote,$(BASE))) \
	  --tag $(call quote,$(or $(IMAGE),tokenswarm:$(VERSION))) .

test-observe: $(VENV)/.installed-dev ## a real Prometheus scrapes a run and answers the dashboard's queries
	@sh tests/observe/need_prometheus.sh
	@$(PYTEST) -rs tests/observe

test-statistics: $(VENV)/.installed-dev ## what intervals and verdicts promise, by simulation (minutes)
	@$(PYTEST) -n 2 -o cache_dir=build/pytest_statistics tests/statistics

docs: $(VENV)/.installed ## generate the tables of docs/ from the code (a test checks them)
	@$(PY) -m docs.generate

COMPILE = build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
  --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) pyproject.toml

lock: ## rewrite requirements/ from pyproject.toml, keeping locked versions where possible (UPGRADE=1: the newest)
	@$(PYTHON) -m venv build/uv && build/uv/bin/python -m pip install -qq --disable-pip-version-check uv==0.13.9
	@$(COMPILE) --output-file requirements/run.txt
	@$(COMPILE) --extra dev --constraint requirements/run.txt --output-file requirements/dev.txt
	@build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) --group build --output-file requirements/build.txt

digests: ## write the digest of each image's tag into compose/ and deploy/, as its registry reports it
	@$(PYTHON) compose/image/digests.py

sbom: ## the packages of the image with versions and hashes, as CycloneDX JSON in build/sbom.json
	@$(PYTHON) -m venv build/sbom && build/sbom/bin/python -m pip install -qq --disable-pip-version-check cyclonedx-bom==7.5.0
	@build/sbom/bin/cyclonedx-py requirements requirements/run.txt --output-reproducible --output-format JSON --output-file build/sbom.json
	@echo build/sbom.json

wheel: $(VENV)/.installed ## the package, as a wheel in dist/
	@$(PY) -m pip wheel -qq --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist . && ls dist

lint: $(VENV)/.installed-dev ## ruff (rules and layout) and mypy
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check --quiet . || { echo "lay the files out: $(VENV)/bin/ruff format ." >&2; exit 1; }
	@rm -rf build/types && mkdir -p build/types/tokenswarm
	@ln -s $(CURDIR)/tokenswarm/* $(CURDIR)/analysis build/types/tokenswarm/
	@cd build/types && $(CURDIR)/$(PY) -m mypy --config-file ../../pyproject.toml --cache-dir ../mypy_cache

schemas: install ## write the JSON Schemas of a run folder's files into docs/schema/
	@$(PY) -m tokenswarm.contract

bench: $(VENV)/.installed ## measure the harness itself
	@for file in bench/*.py; do echo "== $$file"; $(PY) $$file || exit 1; done

clean: ## remove the virtual environment (results are kept)
	@rm -rf $(VENV)
