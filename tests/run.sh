#!/bin/sh
# Run all tests: sh tests/run.sh [TOX OPTIONS]
# CLNRM_CLUSTER_BINARIES=FOLDER has the tests of a cluster run on one that is made of what is there; see cluster/two_nodes.sh.
# On a fresh Debian machine it installs what it needs; see ../examples/setup.sh.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$root/examples/setup.sh"
# With uv an environment of tox is made in a tenth of the processor time that pip needs.
setup tox tox-uv
setup_browser
cd "$root"
# pyenv hides the versions that are not selected: tox is to find each one that is installed.
for bin in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[0-3].*/bin; do
    [ ! -d "$bin" ] || PATH=$PATH:$bin
done
export PATH
# Modules are compiled once, not by whichever tests come first; certificates are the machine's, as with pip; a Python
# that is missing is not fetched.
export UV_COMPILE_BYTECODE=1 UV_SYSTEM_CERTS=true UV_PYTHON_DOWNLOADS=never
# Sockets, locks and ledgers of the tests' own, gone afterwards.
runtime=$(mktemp -d /tmp/clnrm-tests.XXXXXX)
trap 'rm -rf "$runtime"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
tox() {
    "$venv/bin/python" examples/with_engine.py -- env XDG_RUNTIME_DIR="$runtime" "$venv/bin/python" -m tox "$@"
}
if [ $# -gt 0 ]; then
    tox run "$@"
    exit
fi
# The first ones use both cores by themselves. The engine's tests wait for the engine most of the time, so the others
# go beside them, one at a time; but not py311, which has the tests that measure how items are scheduled.
beside=engine,lowest,py312,py313,py314,noxdist,pinned,browser,type,first
status=0
tox run --skip-env "^($(echo $beside | tr , '|'))\$" || status=$?
tox run-parallel --parallel 2 --parallel-no-spinner -e $beside || status=$?
# The tests of a cluster, which are one skip above, where there is something to make one of.
[ -z "${CLNRM_CLUSTER_BINARIES:-}" ] ||
    PYTHON=$venv/bin/python sh tests/cluster/two_nodes.sh "$CLNRM_CLUSTER_BINARIES" \
        "$venv/bin/python" -m tox run -e cluster || status=$?
exit $status
