#!/bin/bash
# Real programs under the built-in profiles that are for them.
#
#   preset_programs.sh [ZEROBOX [NAME...]]
#
# ZEROBOX is the release build of this checkout if it is not given. Each program does a small piece of real work in an empty
# directory of its own, without the sandbox and then under its profile. One that does not work without it either (not
# installed, no network) is skipped with the reason. Prints `ok NAME`, `FAIL NAME` with the end of its output, or
# `skip NAME: REASON`; the last line counts them and the exit code is 1 if any failed.

set -u

programs="node python git rust cargo-build npm-install pip-install"

# ---- the programs ------------------------------------------------------------------------------------------------
# `box COMMAND` is the command under the profile of the program's name, or as it is. What `refused_NAME` does works without
# the sandbox and has to fail in it.

program_node() {
    mkdir dist
    echo 'require("fs").writeFileSync("dist/out", "made")' > main.js
    box node main.js
    [ "$(cat dist/out)" = made ]
}

refused_node() { box node -e 'require("fs").writeFileSync("main.js", "")'; }

program_python() {
    mkdir build
    box python3 -c 'open("build/out", "w").write("made")'
    [ "$(cat build/out)" = made ]
}

refused_python() { box python3 -c 'open("other", "w").write("made")'; }

program_git() {
    git init -q .
    echo one > file
    box git add file
    box git -c user.name=Tester -c user.email=tester@example.com commit -q -m one
    [ "$(git log --format=%s)" = one ]
}

refused_git() { box git config core.fsmonitor ./evil; }

package() {
    mkdir src
    printf '[package]\nname = "a"\nversion = "0.1.0"\nedition = "2021"\n%s\n' "$1" > Cargo.toml
    echo "$2" > src/main.rs
}

program_rust() {
    package '' 'fn main() { println!("built"); }'
    box cargo run -q | grep -x built
}

refused_rust() { box cat ../secret; }

program_cargo-build() {
    package '[dependencies]
cfg-if = "1"' 'fn main() { cfg_if::cfg_if! { if #[cfg(unix)] { println!("built"); } } }'
    box cargo run -q | grep -x built
}

refused_cargo-build() { box cat ../secret; }

program_npm-install() {
    echo '{ "name": "a", "version": "1.0.0" }' > package.json
    box npm install --silent is-number
    [ -e node_modules/is-number/package.json ]
}

refused_npm-install() { box cat ../secret; }

program_pip-install() {
    box python3 -m venv venv
    box venv/bin/python -m pip install -q six
    box venv/bin/python -c 'import six'
}

refused_pip-install() { box cat ../secret; }

# ---- running them ------------------------------------------------------------------------------------------------

here=$(cd "$(dirname "$0")/../../.." && pwd)
zerobox=${1:-$here/target/release/zerobox}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] && programs=$*
root=$(mktemp -d)
echo secret > "$root/secret"
trap 'rm -rf "$root"' EXIT
passed=0 failed=0 skipped=0

box() {
    case $mode in
        bare) "$@" ;;
        inside) "$zerobox" --profile "$name" -- "$@" ;;
    esac
}

# Runs one part of a program in a fresh or in its own directory, within three minutes.
part() {
    mode=$1
    mkdir -p "$root/$name-$mode"
    (
        cd "$root/$name-$mode" || exit 1
        export zerobox name mode
        export -f box package "$2"
        timeout 180 bash -c "set -e; $2"
    ) > "$root/log" 2>&1
}

for name in $programs; do
    if ! part bare "program_$name"; then
        echo "skip $name: it does not work here without the sandbox: $(tail -n 1 "$root/log")"
        skipped=$((skipped + 1))
    elif ! part inside "program_$name"; then
        echo "FAIL $name"
        tail -n 15 "$root/log"
        failed=$((failed + 1))
    elif ! part bare "refused_$name"; then
        echo "FAIL $name: what shall be refused does not work without the sandbox either"
        failed=$((failed + 1))
    elif part inside "refused_$name"; then
        echo "FAIL $name: what its profile does not allow has worked"
        failed=$((failed + 1))
    else
        echo "ok $name"
        passed=$((passed + 1))
    fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
