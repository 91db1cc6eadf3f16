#!/usr/bin/env bash
# Makes the environment in .venv, and runs the demo or the tests in it.
#
#   bash setup_env.sh          set up only
#   bash setup_env.sh demo     set up, then segment the demo pictures
#   bash setup_env.sh test     set up, then run the tests
#
# Any Python 3.10 to 3.13 on the PATH will do; name another with PYTHON=/path/to/python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

venv=${TEXTREGION_VENV:-.venv}
stamp=$venv/textregion-setup
task=${1:-}

case "$task" in
    "" | demo | test) ;;
    *) echo "setup_env.sh: unknown task '$task': use demo, test, or nothing." >&2; exit 2 ;;
esac

say() { echo "[setup] $*"; }

suits() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.12 python3.11 python3.13 python3.10 python; do
        if suits "$candidate"; then echo "$candidate"; return; fi
    done
    echo "setup_env.sh: no Python 3.10 to 3.13 with venv was found: install one, or name it with PYTHON=..." >&2
    exit 2
}

# The requirement of one package, as pyproject.toml states it.
requirement() { grep -oE "\"$1[<>=!~][^\"]*\"" pyproject.toml | head -n 1 | tr -d '"'; }

fingerprint() { cat pyproject.toml setup_env.sh | cksum; }

if [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint)" ]; then
    say "$venv is up to date."
else
    python=$(find_python)
    say "making $venv with $("$python" --version)"
    rm -f "$stamp"
    suits "$venv/bin/python" || rm -rf "$venv"
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    pip=("$venv/bin/python" -m pip --disable-pip-version-check)
    "${pip[@]}" install --quiet --upgrade pip "setuptools>=77" wheel
    say "installing PyTorch (several GB the first time)"
    "${pip[@]}" install --quiet "$(requirement torch)" "$(requirement torchvision)"
    # SAM 2 builds against the PyTorch that is there; its CUDA extension only fills holes in masks, which is not used.
    say "installing SAM 2"
    SAM2_BUILD_CUDA=0 "${pip[@]}" install --quiet --no-build-isolation "$(requirement sam2)"
    say "installing TextRegion and the rest"
    "${pip[@]}" install --quiet --editable ".[eval,web,test]"
    fingerprint > "$stamp"
    say "done: activate it with 'source $venv/bin/activate'"
fi

case "$task" in
    demo) say "running the demo"; exec "$venv/bin/python" TextRegionSegmenter.py ;;
    test) say "running the tests"; exec "$venv/bin/python" -m pytest ;;
esac
