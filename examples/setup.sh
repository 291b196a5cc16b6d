# What examples/run.sh and tests/run.sh need before they start; read by them, not run.
#
# `setup PACKAGE...` makes a Python environment with this package and others, and sees to a container engine
# and busybox. As root on Debian it installs what is missing and says so; else it says what to install.
# `setup_browser` sees to a Chromium.
# It sets: venv (the environment's folder). It reads: PYTHON (default python3), root (the project's folder).

say() {
    printf '%s: %s\n' "${0##*/}" "$*"
}

fail() {
    say "$*" >&2
    exit 1
}

# install_packages PACKAGE... - install Debian packages, or say which are missing and end.
install_packages() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        fail "missing: $*; install it and run this again (on Debian, as root: apt-get install $*)"
    fi
    say "installing the Debian packages: $*"
    # The lists of packages may be missing or old: they are fetched only where it does not work without.
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
        </dev/null >/dev/null 2>&1 && return
    apt-get update -qq </dev/null || fail "apt-get update failed"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
        </dev/null >/dev/null || fail "apt-get install failed: $*"
}

setup_python() {
    python=${PYTHON:-python3}
    command -v "$python" >/dev/null 2>&1 || install_packages python3 python3-venv
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "Python 3.10 or later is needed, $python is $("$python" --version 2>&1); name another with PYTHON=..."
    venv=$root/.venv/run
    if ! "$venv/bin/python" -c 'import pip' >/dev/null 2>&1; then
        say "making a Python environment in $venv"
        rm -rf "$venv"
        "$python" -c 'import ensurepip' >/dev/null 2>&1 || install_packages python3-venv
        "$python" -m venv "$venv"
    fi
    say "installing into it: pytest-clnrm $*"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root" "$@"
}

setup_busybox() {
    # Containers have no libraries, so it has to be the static one.
    if busybox=$(command -v busybox) && ! ldd "$busybox" >/dev/null 2>&1; then
        return
    fi
    install_packages busybox-static
}

setup_engine() {
    if engine=$("$venv/bin/python" "$root/examples/with_engine.py" --check 2>/dev/null); then
        say "a container engine answers: $engine"
        return
    fi
    if [ -n "${DOCKER_HOST:-}${DOCKER_CONTEXT:-}" ]; then
        "$venv/bin/python" "$root/examples/with_engine.py" --check
    fi
    say "no container engine answers; one is started for this run"
    path=$PATH:/usr/local/sbin:/usr/sbin:/sbin
    if ! PATH=$path command -v dockerd >/dev/null 2>&1 && ! PATH=$path command -v podman >/dev/null 2>&1; then
        install_packages docker.io iptables
    fi
}

setup_browser() {
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        if command -v "$name" >/dev/null 2>&1; then
            return
        fi
    done
    install_packages chromium fonts-dejavu-core
}

setup() {
    setup_python "$@"
    setup_busybox
    setup_engine
}
