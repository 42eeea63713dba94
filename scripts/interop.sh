# Sourced by scripts/test: the foreign ACME clients that no Debian package holds, each in a directory of its own.
#
# As in environment.sh a stamp inside the directory names the lock that it was made from. pip's and npm's own settings
# are used as they are. To renew the locks, in tests/interop:
#   echo certbot | uv pip compile - --generate-hashes --no-header --no-annotate -o requirements-certbot.lock
#   (in acme_client) npm install --package-lock-only --omit-lockfile-registry-resolved, then drop "funding"

CERTBOT=$ROOT/.venv-certbot
ACME_CLIENT=$ROOT/.venv-acme-client

# made_from STAMP LOCK: whether the directory of this stamp was made from this lock.
made_from() { [ "$(cat -- "$1" 2>/dev/null)" = "$(lock_sum "$1" "$2")" ]; }
lock_sum() { { printf '%s\n' "$1"; cat -- "$2"; } | sha256sum; }

# The newest certbot with its acme library, from the package index.
ensure_certbot() {
    local lock=$ROOT/tests/interop/requirements-certbot.lock stamp=$CERTBOT/lock.stamp
    made_from "$stamp" "$lock" && return 0
    ensure_python
    say "making $CERTBOT (once)"
    exec 9>"$CERTBOT.lock"
    flock 9
    made_from "$stamp" "$lock" || {
        "$PYTHON" -m venv --clear "$CERTBOT" || stop "python -m venv failed"
        "$CERTBOT/bin/python" -m pip install --quiet --require-hashes --only-binary :all: -r "$lock" >&2 ||
            stop "pip could not install the locked certbot"
        lock_sum "$stamp" "$lock" >"$stamp"
    }
    exec 9>&-
}

# The acme-client package of npm.
ensure_acme_client() {
    local source=$ROOT/tests/interop/acme_client stamp=$ACME_CLIENT/lock.stamp
    local lock=$source/package-lock.json
    made_from "$stamp" "$lock" && return 0
    say "making $ACME_CLIENT (once)"
    exec 9>"$ACME_CLIENT.lock"
    flock 9
    made_from "$stamp" "$lock" || {
        mkdir -p "$ACME_CLIENT"
        cp -- "$source/package.json" "$lock" "$ACME_CLIENT/"
        npm --prefix "$ACME_CLIENT" ci --silent --ignore-scripts --no-audit --no-fund >&2 ||
            stop "npm could not install the locked acme-client"
        lock_sum "$stamp" "$lock" >"$stamp"
    }
    exec 9>&-
}
