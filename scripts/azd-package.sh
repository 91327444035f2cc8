#!/bin/sh
# azd runs this before it packages the function app. Makes dist/functions, with the packages of its requirements inside.
#
# PYTHON chooses the interpreter. It needs Python 3.11 or later with pip; the app itself runs on the platform's Python.
set -eu
cd "$(dirname "$0")/.."

usable() { "$1" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
find_python() {
    for candidate in ${PYTHON:-.venv/bin/python python3 python3.14 python3.13 python3.12 python3.11 python py}; do
        if usable "$candidate"; then echo "$candidate"; return; fi
    done
    echo "packaging the function app needs Python 3.11 or later with pip; set PYTHON to one" >&2
    exit 1
}

python=$(find_python)
target=$(PYTHON="$python" scripts/package-functions)
exec "$python" scripts/azd-wheels.py "$target"
