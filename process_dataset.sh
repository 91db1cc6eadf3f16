#!/usr/bin/env bash
# Prepares the data sets whose downloads are there, one line each:
#   bash process_dataset.sh --data-root DIR [--workers N] [DATASET ...]
# What must lie where is in eval/README.md; --help lists the data sets.
set -euo pipefail
checkout="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
python="${PYTHON:-python}"
if [[ -z "${PYTHON:-}${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" && -x "$checkout/.venv/bin/python" ]]; then
    python="$checkout/.venv/bin/python"  # what setup_env.sh made
fi
PYTHONPATH="$checkout${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m eval.prepare "$@"
