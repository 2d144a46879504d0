# The frame of programs.sh, network_programs.sh, secret_programs.sh and preset_programs.sh, to be sourced.
#
#   SCRIPT [ZEROBOX [NAME...]]
#
# ZEROBOX is the release build of this checkout if it is not given. Prints `ok NAME`, `FAIL NAME` with the end of its
# output, or `skip NAME: REASON`; the last line counts them and the exit code is 1 if any failed.
#
# Runs as whoever invokes it and, when that is root, once more as an unprivileged uid. What insists on an account with a
# name runs a third time as `postgres`, if there is such an account.
#
# A script has `checks`, `named_checks` (those that need an account with a name) and a function `check_NAME` for each,
# and ends with `frame "$@"`. Behind its `source` it may define anew:
#   set_up     starts servers and installs what checks need, as the one who invoked the script; exports what it found
#   surround   makes the variables of one check, in whose directory it runs
#   judge      runs one check and prints its line
# Files of a directory with the script's name are in `$clients` for every account.

frame() {
    suite=$(basename "$0" .sh)
    here=$(dirname "$(readlink -f "$0")")
    servers=()
    if [ "${1:-}" = --pass ]; then
        shift
        local name
        for name in "$@"; do judge "$name"; done
        exit
    fi
    if [ $# = 0 ]; then
        # What `cargo build --release` and the tests have built.
        set -- "$(cd "$here/../../.." && ls -t target/*/release/zerobox target/release/zerobox 2> /dev/null | head -n 1)"
        [ -n "$1" ] && set -- "$here/../../../$1"
    fi
    if [ ! -x "${1:-}" ]; then
        echo "usage: $0 [ZEROBOX [NAME...]]; without one: cargo build --release" >&2
        exit 2
    fi
    umask 022
    work=$(mktemp -d "${ZEROBOX_TEST_DIR:-/var/tmp}/zerobox-$suite.XXXXXX")
    trap end EXIT
    trap 'exit 130' INT TERM
    main "$@"
}

main() {
    zerobox=$work/bin/zerobox clients=$work/clients
    mkdir -p "$work/bin" "$clients"
    cp "$1" "$zerobox" || exit 1
    # An account may not be able to read the script where it is.
    cp "$here/$suite.sh" "$here/programs_frame.sh" "$work/bin/" || exit 1
    [ ! -d "$here/$suite" ] || cp "$here/$suite"/* "$clients/" || exit 1
    chmod 755 "$work" "$work/bin" "$zerobox"
    shift
    [ $# -gt 0 ] || set -- $checks
    export zerobox work clients
    # The home is a new one, but the toolchains are where they were.
    export CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}"
    export PYENV_ROOT="${PYENV_ROOT:-$HOME/.pyenv}"
    set_up "$@" || exit 1
    local results=$work/results
    if [ "$(id -u)" != 0 ]; then
        pass user "$@"
    else
        pass root "$@"
        share_rust
        unset CARGO_HOME RUSTUP_HOME PYENV_ROOT
        export PATH="$work/rust/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        pass user "$@"
        if getent passwd postgres > /dev/null; then
            local name named=()
            for name in "$@"; do
                case " $named_checks " in *" $name "*) named+=("$name") ;; esac
            done
            [ ${#named[@]} = 0 ] || pass postgres "${named[@]}"
        fi
    fi
    local passed failed skipped
    passed=$(grep -c '^ok ' "$results")
    failed=$(grep -c '^FAIL ' "$results")
    skipped=$(grep -c '^skip ' "$results")
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
}

# `pass LABEL NAME...`: this script again, as the account that belongs to the label.
pass() {
    local as=()
    label=$1
    shift
    if [ "$(id -u)" = 0 ]; then
        case $label in
            user) as=(setpriv --reuid=12345 --regid=12345 --clear-groups --) ;;
            postgres) as=(setpriv --reuid=postgres --regid=postgres --clear-groups --) ;;
        esac
    fi
    mkdir -p "$work/$label"
    chmod 777 "$work/$label"
    label=$label "${as[@]}" bash "$work/bin/$suite.sh" --pass "$@" < /dev/null | tee -a "$work/results"
}

# A toolchain in root's home is nothing to other accounts. Hard links make it visible at no cost.
share_rust() {
    local sysroot
    sysroot=$(cd / && rustc --print sysroot 2> /dev/null) || return 0
    cp -al "$sysroot" "$work/rust" 2> /dev/null || rm -rf "$work/rust"
}

end() {
    [ ${#servers[@]} = 0 ] || kill "${servers[@]}" 2> /dev/null
    wait
    rm -rf "$work"
}

# ---- one check ---------------------------------------------------------------------------------------------------

set_up() { :; }

surround() { :; }

# A skip that the list beside the clients does not have is a failure.
judge() {
    local name=$1 started=${EPOCHREALTIME/./} status took
    attempt "check_$name" "$work/$label/$name"
    status=$?
    took=$(((${EPOCHREALTIME/./} - started) / 1000))
    if [ $status = 0 ]; then
        echo "ok $label/$name: $took ms, slowest refusal $(cat "$place/slowest") ms"
    elif [ $status = 77 ] && grep -q "^$label/$name *\(#\|\$\)" "$clients/skips.txt"; then
        echo "skip $label/$name: $(sed -n 's/^skip: //p' "$place/log" | tail -n 1)"
    else
        echo "FAIL $label/$name: $took ms"
        [ $status != 77 ] || echo "    a skip that $suite/skips.txt does not list"
        tail -n 25 "$place/log" | sed 's/^/    /'
    fi
}

# `bare_and_inside FUNCTION NAME`: without the sandbox first (`$mode` is `bare`), then in it (`inside`). Prints the line of
# what is skipped or failed, and fails then. Not to be called in a condition either.
bare_and_inside() {
    mode=bare
    attempt "$1" "$work/$label/bare/$2"
    if [ $? != 0 ]; then
        echo "skip $label/$2: does not work here without the sandbox either: $(tail -n 1 "$place/log" | tr -d '\r')"
        return 1
    fi
    mode=inside
    attempt "$1" "$work/$label/inside/$2"
    [ $? = 0 ] && return
    echo "FAIL $label/$2"
    tail -n 15 "$place/log" | sed 's/^/    /'
    return 1
}

# `attempt FUNCTION PLACE`: in a directory and with a home of its own; its output goes to the file `log` there. A failed
# command fails it. Not to be called in a condition, where `set -e` has no effect, also in the functions that it calls.
attempt() {
    place=$2
    mkdir -p "$place/project" "$place/home"
    echo 0 > "$place/slowest"
    (
        cd "$place/project" || exit 1
        export HOME=$place/home
        servers=()
        surround "${1#*_}"
        trap '[ ${#servers[@]} = 0 ] || kill "${servers[@]}" 2> /dev/null || true' EXIT
        set -eo pipefail
        "$1"
    ) > "$place/log" 2>&1
}

# Ends the check.
skip() {
    echo "skip: $*"
    exit 77
}

needs() {
    local command
    for command in "$@"; do
        command -v "$command" > /dev/null || skip "not installed: $command"
    done
}

python_has() {
    "$python" -c "import $1" 2> /dev/null || skip "not installed: python3-$1"
}

# ---- the sandbox with servers of this machine behind test names --------------------------------------------------

# What the checks run in the sandbox: `box FLAGS -- COMMAND`, with `pins` and flags of the script's own.
box() {
    timeout -k 5 60 "$zerobox" "${pins[@]}" "$@"
}

# `works PATTERN FLAGS -- COMMAND`: it succeeds and prints a line like this; an empty pattern wants none.
works() {
    local pattern=$1 status=0
    shift
    box "$@" > "$place/output" 2> "$place/errors" < /dev/null || status=$?
    if [ $status = 0 ] && { [ -z "$pattern" ] || grep -aEq -e "$pattern" "$place/output" "$place/errors"; }; then
        return
    fi
    printf 'did not work (status %s, for /%s/): %s\n' $status "$pattern" "$*"
    tail -n 20 "$place/output" "$place/errors"
    return 1
}

# A refusal has to be there by then: clients start slowly on a busy machine, but nobody waits for a time-out.
limit_ms=4000

# `run_refused HOW PATTERN FLAGS -- COMMAND`: the client says this soon, and `fails` or just `ends`.
run_refused() {
    local how=$1 pattern=$2 status=0 started=${EPOCHREALTIME/./} took
    shift 2
    box "$@" > "$place/output" 2>&1 < /dev/null || status=$?
    took=$(((${EPOCHREALTIME/./} - started) / 1000))
    [ $took -le "$(cat "$place/slowest")" ] || echo $took > "$place/slowest"
    # What we say names hosts and flags as well: the pattern is about the client's message.
    if [ $status != 124 ] && [ $took -lt $limit_ms ] && { [ $how = ends ] || [ $status != 0 ]; } &&
        ! grep -aq '^hello' "$place/output" && grep -av '^zerobox: blocked: \|^hint: ' "$place/output" | grep -aEq -e "$pattern"; then
        return
    fi
    printf 'was not refused as it should be (status %s, %s ms, for /%s/): %s\n' $status $took "$pattern" "$*"
    cat "$place/output"
    return 1
}

pin() {
    pins+=(--resolve "$1:$2:127.0.0.1")
}

# ---- servers -----------------------------------------------------------------------------------------------------

# `port_of NAME`: waits for the file in which the server writes its port, and sets the variable NAME.
port_of() {
    local tries
    for ((tries = 0; tries < 400; tries++)); do
        if [ -s "$shared/$1.port" ]; then
            declare -g "$1=$(cat "$shared/$1.port")"
            return
        fi
        sleep 0.05
    done
    echo "the $1 server does not start"
    return 1
}

# `certificates HOST...`: an authority and a certificate for these names, in `$shared`.
certificates() {
    needs openssl
    local names
    names=$(printf ',DNS:%s' "$@")
    (
        cd "$shared" &&
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj '/CN=Test CA' -keyout ca.key -out ca.pem &&
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout key.pem -out request.pem &&
            openssl x509 -req -in request.pem -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -extfile <(
                echo "subjectAltName=${names#,}"
                echo 'extendedKeyUsage=serverAuth'
            ) && chmod 644 key.pem
    )
}

# `repository SAMPLE BARE`: one commit of a file, and a bare clone.
repository() {
    local git='git -c user.name=Tester -c user.email=tester@example.com -c init.defaultBranch=main'
    HOME=$work $git init -q "$1" && echo content > "$1/file" && HOME=$work $git -C "$1" add file &&
        HOME=$work $git -C "$1" commit -q -m one && HOME=$work $git clone -q --bare "$1" "$2"
}
