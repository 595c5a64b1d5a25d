#!/usr/bin/env bash
# One gate of a CI job: load an endpoint or an engine, judge the run, and end with tokenswarm's exit code (docs/ci.md).
# An INVALID run (code 4: this machine was too busy to time anything) says nothing of the engine: it is tried once more.
#
# Settings are environment variables: HOST, ENGINE, ENDPOINT, MODEL, SCENARIO, DATA, USERS, RATE, DURATION, WORKERS, SEED,
# SET, LABEL, BASELINE as for make, STRICT (true by default), RESULTS (results), API_KEY, and PYTHON, which has tokenswarm.
set -euo pipefail

results=${RESULTS:-results}
arguments=(--results "$results")
option() { if [ -n "$2" ]; then arguments+=("$1" "$2"); fi; }
engine=${ENGINE-}
if [ -z "$engine" ] && [ -n "${HOST-}" ]; then engine=external; fi
option --engine "$engine"
for name in HOST ENDPOINT MODEL SCENARIO DATA USERS RATE DURATION WORKERS SEED SET LABEL BASELINE; do
  option "--$(printf %s "$name" | tr '[:upper:]' '[:lower:]')" "${!name-}"
done
if [ "${STRICT:-true}" = true ]; then arguments+=(--strict); fi

load() { "${PYTHON:-python3}" -m tokenswarm load "${arguments[@]}"; }

code=0
load || code=$?
if [ "$code" -eq 4 ]; then
  echo "the run was INVALID (this machine was too busy) and is tried once more"
  code=0
  load || code=$?
fi

if [ -n "${GITHUB_OUTPUT-}" ]; then
  folders=("$results"/*/run.json)  # their names begin with the time: the last is the newest
  folder=${folders[${#folders[@]} - 1]}
  {
    echo "exit-code=$code"
    if [ -f "$folder" ]; then echo "run-folder=$(dirname "$folder")"; fi
  } >> "$GITHUB_OUTPUT"
fi
exit "$code"
