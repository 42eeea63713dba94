# Sourced by the other scripts: makes a virtual environment from the hash-locked requirements, once.
#
# A stamp inside the environment names what it was made from (locks, project file, place of the checkout), so
# that a second start costs two hashes. pip's own settings (PIP_* variables, pip.conf) are used as they are.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
DEBIAN_PYTHON_PACKAGES="python3 python3-venv ca-certificates"

say() { printf '%s\n' "$*" >&2; }
stop() { say "error: $*"; exit 1; }

# Prints the interpreter to use: PYTHON, Debian's own python3, or the first python3 of the path.
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" /usr/bin/python3 python3; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

# apt_install PACKAGE...: as root installs what is missing; otherwise prints the line to type and stops.
apt_install() {
    local missing=() package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        stop "these Debian packages or what they give are needed: ${missing[*]}"
    fi
    if [ "$(id -u)" -ne 0 ]; then
        say "These Debian packages are missing: ${missing[*]}. As root, type:"
        say "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
        exit 1
    fi
    say "installing Debian packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null || say "warning: apt-get update failed; going on with the lists that are there"
    # What the tests need are programs: no service of a package is started, now or at the next start of the machine.
    local policy=/usr/sbin/policy-rc.d ours=no service
    [ -e "$policy" ] || { ours=yes; printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"; }
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || {
        [ "$ours" = no ] || rm -f -- "$policy"
        stop "apt-get could not install ${missing[*]}"
    }
    [ "$ours" = no ] || rm -f -- "$policy"
    for service in caddy.service haproxy.service certbot.timer; do
        [[ " ${missing[*]} " != *" ${service%.*} "* ]] || systemctl disable --quiet "$service" 2>/dev/null || true
    done
}

ensure_python() {
    PYTHON=$(find_python) && return 0
    # shellcheck disable=SC2086  # a list of package names
    apt_install $DEBIAN_PYTHON_PACKAGES
    PYTHON=$(find_python) || stop "Python 3.11 or newer with venv is needed; set PYTHON to one"
}

# ensure_environment DIRECTORY LOCK... -- [PROJECT...]
# Installs the LOCK files, then the checkout itself and each further PROJECT directory, editable, without
# resolving anything: every version and hash comes from the locks.
ensure_environment() {
    local directory=$1 locks=() projects=("$ROOT")
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do locks+=("$1"); shift; done
    [ $# -eq 0 ] || shift
    projects+=("$@")
    local locks_now projects_now
    locks_now=$(printf '%s\n' "$directory"; cat -- "${locks[@]}" | sha256sum)
    projects_now=$(printf '%s\n' "${projects[@]}"; for p in "${projects[@]}"; do cat -- "$p/pyproject.toml"; done | sha256sum)
    if [ "$(cat -- "$directory/locks.stamp" 2>/dev/null)" = "$locks_now" ] &&
        [ "$(cat -- "$directory/projects.stamp" 2>/dev/null)" = "$projects_now" ]; then
        return 0
    fi
    ensure_python
    make_environment
}

# Reads directory, locks, projects, locks_now and projects_now of ensure_environment.
make_environment() {
    local started=$SECONDS requirements=() lock project
    # Two starts at once on a new checkout: the second waits, then finds everything done.
    exec 9>"$directory.lock"
    flock 9
    if [ "$(cat -- "$directory/locks.stamp" 2>/dev/null)" != "$locks_now" ]; then
        rm -f -- "$directory/projects.stamp"
        say "making $directory with $("$PYTHON" --version) (once; takes a minute or so)"
        "$directory/bin/python" -c '' 2>/dev/null && grep -qsF -- "$directory" "$directory/bin/pip" ||
            "$PYTHON" -m venv --clear "$directory" || stop "python -m venv failed"
        for lock in "${locks[@]}"; do requirements+=(-r "$lock"); done
        "$directory/bin/python" -m pip install --quiet --require-hashes "${requirements[@]}" >&2 ||
            stop "pip could not install the locked requirements"
        printf '%s\n' "$locks_now" >"$directory/locks.stamp"
    fi
    if [ "$(cat -- "$directory/projects.stamp" 2>/dev/null)" != "$projects_now" ]; then
        for project in "${projects[@]}"; do
            "$directory/bin/python" -m pip install --quiet --no-deps --no-build-isolation -e "$project" >&2 ||
                stop "pip could not install $project"
        done
        printf '%s\n' "$projects_now" >"$directory/projects.stamp"
        say "ready after $((SECONDS - started)) s"
    fi
    exec 9>&-
}
