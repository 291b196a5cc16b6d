#!/bin/sh
# Run the examples in containers: sh examples/run.sh [PYTEST OPTIONS]
# On a fresh Debian machine it installs what it needs; see setup.sh.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$root/examples/setup.sh"
setup
cd "$root"
"$venv/bin/python" examples/with_engine.py --image clnrm-examples/shell:1 -- \
    "$venv/bin/python" -m pytest -n 8 --clnrm-memory 512 --clnrm-report clnrm-report --clnrm-engine embedded \
    examples "$@"
say "the report: $root/clnrm-report"
