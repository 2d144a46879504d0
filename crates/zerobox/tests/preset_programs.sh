#!/bin/bash
# Real programs under the built-in profiles that are for them.
#
#   preset_programs.sh [ZEROBOX [NAME...]]
#
# Each program does a small piece of real work in an empty directory of its own, without the sandbox and then under the
# profile of its name. One that does not work without it either (not installed, no registry) is skipped with the reason.
# What a profile does not allow works without the sandbox, and fails in it. What it prints and as whom it runs:
# programs_frame.sh.

set -u
source "$(dirname "$(readlink -f "$0")")/programs_frame.sh"

checks="node python git rust cargo-build npm-install pip-install"
named_checks=""

# ---- the programs ------------------------------------------------------------------------------------------------
# `box COMMAND` is the command under the profile of the program's name, or as it is. `refused_NAME` follows `check_NAME` in
# the same directory.

check_node() {
    mkdir dist
    echo 'require("fs").writeFileSync("dist/out", "made")' > main.js
    box node main.js
    [ "$(cat dist/out)" = made ]
}

refused_node() { box node -e 'require("fs").writeFileSync("main.js", "")'; }

check_python() {
    mkdir build
    box python3 -c 'open("build/out", "w").write("made")'
    [ "$(cat build/out)" = made ]
}

refused_python() { box python3 -c 'open("other", "w").write("made")'; }

check_git() {
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

check_rust() {
    package '' 'fn main() { println!("built"); }'
    box cargo run -q | grep -x built
}

refused_rust() { box cat ../secret; }

check_cargo-build() {
    package '[dependencies]
cfg-if = "1"' 'fn main() { cfg_if::cfg_if! { if #[cfg(unix)] { println!("built"); } } }'
    box cargo run -q | grep -x built
}

refused_cargo-build() { box cat ../secret; }

check_npm-install() {
    echo '{ "name": "a", "version": "1.0.0" }' > package.json
    box npm install --silent is-number
    [ -e node_modules/is-number/package.json ]
}

refused_npm-install() { box cat ../secret; }

check_pip-install() {
    box python3 -m venv venv
    box venv/bin/python -m pip install -q six
    box venv/bin/python -c 'import six'
}

refused_pip-install() { box cat ../secret; }

# ---- how they are run --------------------------------------------------------------------------------------------

box() {
    case $mode in
        bare) timeout -k 5 120 "$@" ;;
        inside) timeout -k 5 120 "$zerobox" --profile "$name" -- "$@" ;;
    esac
}

surround() {
    echo secret > "$place/secret"
}

judge() {
    local name=$1
    bare_and_inside "check_$name" "$name"
    [ $? = 0 ] || return
    mode=bare
    attempt "refused_$name" "$work/$label/bare/$name"
    if [ $? != 0 ]; then
        echo "FAIL $label/$name: what shall be refused does not work without the sandbox either"
        tail -n 15 "$place/log" | sed 's/^/    /'
        return
    fi
    mode=inside
    attempt "refused_$name" "$work/$label/inside/$name"
    if [ $? = 0 ]; then
        echo "FAIL $label/$name: what its profile does not allow has worked"
    else
        echo "ok $label/$name"
    fi
}

frame "$@"
