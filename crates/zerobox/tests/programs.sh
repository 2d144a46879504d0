#!/bin/bash
# Real programs inside the sandbox: the acceptance test.
#
#   programs.sh [ZEROBOX [NAME...]]
#
# Each program does a small piece of real work twice, without the sandbox and inside. One that does not work without it
# either (not installed, no account) is skipped with the reason. What it prints and as whom it runs: programs_frame.sh.

set -u
source "$(dirname "$(readlink -f "$0")")/programs_frame.sh"

checks="git python-venv python-asyncio python-multiprocessing python-unix-server python-subprocess node npm-run
npm-pack cargo-build cargo-test gcc make shell-pipes shell-heredoc vim sqlite jq ripgrep tar strace ssh-keygen
postgresql perl find-xargs tmux"
# What needs an account with a name, or refuses root.
named_checks="ssh-keygen postgresql"

# ---- the programs ------------------------------------------------------------------------------------------------
# Each runs in an empty directory of its own, which `box --allow-write=.` grants. `box FLAGS -- COMMAND` is the
# sandbox or nothing at all. A failed command fails the program.

git-as-tester() {
    git -c user.name=Tester -c user.email=tester@example.com -c init.defaultBranch=main "$@"
}

check_git() {
    local git='git -c user.name=Tester -c user.email=tester@example.com -c init.defaultBranch=main'
    box --allow-write=. -- $git init -q
    echo one > file
    box --allow-write=. -- $git add file
    box --allow-write=. -- $git commit -q -m one
    echo two >> file
    box --allow-write=. -- $git stash -q
    [ "$(cat file)" = one ]
    box --allow-write=. -- $git stash pop -q
    box --allow-write=. -- $git commit -q -a -m two
    box --allow-write=. -- $git branch feature
    box --allow-write=. -- $git worktree add -q tree feature
    echo three > tree/file
    box --allow-write=. -- $git -C tree commit -q -a -m three
    # A linked worktree on its own: its repository comes with it.
    cd tree
    echo four > file
    box --allow-write=. -- $git commit -q -a -m four
    cd ..
    box --allow-write=. -- $git merge -q feature
    box --allow-write=. -- $git gc -q
    [ "$(git-as-tester log --format=%s | tr '\n' ' ')" = 'four three two one ' ]
    git-as-tester fsck --strict
    [ -z "$(git-as-tester status --porcelain --ignored | grep -v tree/)" ]
}

check_python-venv() {
    box --allow-write=. -- python3 -m venv --without-pip venv
    echo 'print("module")' > module.py
    box --allow-write=. -- venv/bin/python -c 'import sys; sys.exit(sys.prefix == sys.base_prefix)'
    box --allow-write=. -- venv/bin/python -m py_compile module.py
    box -- venv/bin/python module.py | grep -x module
}

check_python-asyncio() {
    cat > main.py << 'PYTHON'
import asyncio

async def serve(reader, writer):
    writer.write((await reader.readline()).upper())
    await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"tcp\n")
    print((await reader.readline()).decode().strip())
    server = await asyncio.start_unix_server(serve, "asyncio.sock")
    reader, writer = await asyncio.open_unix_connection("asyncio.sock")
    writer.write(b"unix\n")
    print((await reader.readline()).decode().strip())
    child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    print((await child.communicate(b"CHILD"))[0].decode())
    await asyncio.gather(*(asyncio.to_thread(sum, range(1000)) for _ in range(20)))

asyncio.run(main())
PYTHON
    [ "$(box --allow-write=. -- python3 main.py | tr '\n' ' ')" = 'TCP UNIX CHILD ' ]
}

check_python-multiprocessing() {
    cat > main.py << 'PYTHON'
import multiprocessing, sys
from multiprocessing import shared_memory

def square(number):
    return number * number

def put(queue, shared):
    queue.put(dict(shared))

if __name__ == "__main__":
    for method in "fork", "spawn", "forkserver":
        context = multiprocessing.get_context(method)
        with context.Pool(3) as pool:
            assert pool.map(square, range(10)) == [n * n for n in range(10)]
        with context.Manager() as manager:
            shared, queue = manager.dict(a=1), context.Queue()
            process = context.Process(target=put, args=(queue, shared))
            process.start()
            assert queue.get(timeout=20) == {"a": 1}
            process.join()
    if sys.version_info >= (3, 8):
        memory = shared_memory.SharedMemory(create=True, size=4096)
        memory.buf[0] = 1
        memory.close()
        memory.unlink()
    print("done")
PYTHON
    box -- python3 main.py | grep -x done
}

check_python-unix-server() {
    cat > server.py << 'PYTHON'
import os, socketserver

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline()[::-1])

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    pass

with Server("server.sock", Handler) as server:
    print("ready", flush=True)
    server.handle_request()
    server.handle_request()
PYTHON
    cat > client.py << 'PYTHON'
import socket
for word in "one", "two":
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("server.sock")
        client.sendall(word.encode() + b"\n")
        print(client.makefile().read().strip())
PYTHON
    [ "$(box --allow-write=. -- sh -c 'python3 server.py | (read ready && python3 client.py)' | tr '\n' ' ')" = 'eno owt ' ]
}

check_python-subprocess() {
    cat > main.py << 'PYTHON'
import os, pty, subprocess, tempfile, threading
assert subprocess.run(["echo", "x"], capture_output=True, close_fds=True).stdout == b"x\n"
with tempfile.TemporaryDirectory() as directory, tempfile.NamedTemporaryFile() as file:
    os.chmod(directory, 0o700)
    os.link(file.name, os.path.join(directory, "link"))
threads = [threading.Thread(target=os.getpid) for _ in range(50)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
pid, master = pty.fork()
if pid == 0:
    os.execvp("tty", ["tty"])
assert os.read(master, 100).startswith(b"/dev/pts/")
assert os.waitpid(pid, 0)[1] == 0
print("done")
PYTHON
    box -- python3 main.py | grep -x done
}

check_node() {
    cat > main.js << 'JAVASCRIPT'
const http = require('http'), fs = require('fs'), net = require('net');
const { execFileSync } = require('child_process');
const { Worker } = require('worker_threads');
fs.writeFileSync('out.txt', execFileSync('cat', { input: 'child' }));
const server = http.createServer((_, reply) => reply.end('http'));
server.listen(0, '127.0.0.1', () => {
  http.get({ port: server.address().port, host: '127.0.0.1' }, (reply) => {
    reply.on('data', (data) => console.log(String(data)));
    reply.on('end', () => server.close());
  });
});
const local = net.createServer((socket) => socket.end('unix'));
local.listen('node.sock', () => {
  net.connect('node.sock').on('data', (data) => { console.log(String(data)); local.close(); });
});
new Worker("console.log('worker')", { eval: true });
JAVASCRIPT
    [ "$(box --allow-write=. -- node main.js | sort | tr '\n' ' ')" = 'http unix worker ' ]
    [ "$(cat out.txt)" = child ]
}

package-json() {
    cat > package.json << 'JSON'
{ "name": "sample", "version": "1.0.0", "main": "index.js", "scripts": { "hello": "node index.js | tr a-z A-Z" } }
JSON
    echo "console.log('hello')" > index.js
}

check_npm-run() {
    package-json
    box -- npm run --silent hello | grep -x HELLO
}

check_npm-pack() {
    package-json
    box --allow-write=. -- npm pack --offline --silent
    tar -tzf sample-1.0.0.tgz | grep -x package/index.js
}

crate() {
    mkdir -p src
    printf '[package]\nname = "sample"\nversion = "0.1.0"\nedition = "2021"\n' > Cargo.toml
    cat > src/main.rs << 'RUST'
fn main() {
    println!("{}", sample());
}

fn sample() -> u32 {
    let threads: Vec<_> = (0..4).map(|number| std::thread::spawn(move || number)).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
}

#[test]
fn adds_up() {
    assert_eq!(sample(), 6);
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
}
RUST
}

check_cargo-build() {
    crate
    box --allow-write=. -- cargo build --offline --quiet
    [ "$(box -- target/debug/sample)" = 6 ]
}

check_cargo-test() {
    crate
    box --allow-write=. -- cargo test --offline | grep '1 passed'
}

check_gcc() {
    printf '#include <stdio.h>\n#include <pthread.h>\nint main(void) { puts("compiled"); return 0; }\n' > main.c
    box --allow-write=. -- gcc -O2 -pipe -pthread -o main main.c
    box --allow-write=. -- gcc -O2 -c -o main.o main.c
    box -- ./main | grep -x compiled
}

check_make() {
    printf 'all: a b c d\n%%: %%.in\n\tsleep 0.1; cat $< > $@\nshow: all\n\t$(MAKE) -C sub\n' > Makefile
    mkdir sub
    printf 'all:\n\techo sub > made\n' > sub/Makefile
    for name in a b c d; do echo $name > $name.in; done
    box --allow-write=. -- make -s -j2 show
    [ "$(cat a b c d sub/made | tr '\n' ' ')" = 'a b c d sub ' ]
}

check_shell-pipes() {
    [ "$(box -- bash -c 'yes | head -n 3 | wc -l')" = 3 ]
    [ "$(box -- bash -c 'seq 1 100000 | sort -rn | head -n 1')" = 100000 ]
    [ "$(box -- bash -c 'diff <(echo a) <(echo b) | grep -c "^[<>]"')" = 2 ]
    [ "$(printf 'b\na\n' | box -- sort | tr '\n' ' ')" = 'a b ' ]
    box -- bash -c 'false | true; [ "${PIPESTATUS[0]}" = 1 ]'
    box -- bash -c 'coproc cat; echo word >&"${COPROC[1]}"; read -r word <&"${COPROC[0]}"; [ "$word" = word ]'
    box -- sh -c 'mkfifo "$HOME/fifo" && (echo through > "$HOME/fifo" &) && [ "$(cat "$HOME/fifo")" = through ]'
}

check_shell-heredoc() {
    cat > script.sh << 'SCRIPT'
#!/bin/bash
set -eu
cat << EOF | tr a-z A-Z
here $((1 + 1))
EOF
cat <<< string
five=$(mktemp) && exec 5> "$five" && echo five >&5 && cat "$five" && rm "$five"
trap 'echo bye' EXIT
( sleep 0.1 & wait )
SCRIPT
    chmod +x script.sh
    [ "$(box -- ./script.sh | tr '\n' ' ')" = 'HERE 2 string five bye ' ]
}

check_vim() {
    echo first > file
    export box_vim
    box_vim="$(boxed --allow-write=.) vim -u NONE -i NONE -N file"
    { sleep 1; printf 'osecond\033'; sleep 0.3; printf ':wq\r'; sleep 1; } |
        TERM=xterm timeout 20 script -qec "$box_vim" /dev/null > /dev/null
    [ "$(tr '\n' ' ' < file)" = 'first second ' ]
}

check_tmux() {
    # The server makes a socket of its own, and terminals.
    cat > session.sh << 'SCRIPT'
set -e
export TMUX_TMPDIR=/tmp
tmux -f /dev/null new-session -d -s zerobox 'echo in-tmux > from-tmux; sleep 30'
for attempt in $(seq 50); do [ -s from-tmux ] && break; sleep 0.1; done
tmux list-sessions -F '#{session_name}'
tmux kill-server
SCRIPT
    # Its own socket name keeps it apart from a server that the user has.
    sed -i 's/^tmux /tmux -L zerobox-test /' session.sh
    box --allow-write=. -- sh session.sh | grep -x zerobox
    grep -x in-tmux from-tmux
}

check_sqlite() {
    box --allow-write=. -- sqlite3 data.db 'PRAGMA journal_mode=WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1), (2);'
    [ "$(box --allow-write=. -- sqlite3 data.db 'SELECT sum(a) FROM t;')" = 3 ]
    box --allow-write=. -- sqlite3 data.db 'VACUUM; PRAGMA integrity_check;' | grep -x ok
}

check_jq() {
    [ "$(echo '{"a": [1, 2, 3]}' | box -- jq '.a | add')" = 6 ]
}

check_ripgrep() {
    mkdir -p a/b
    echo needle > a/b/file
    echo hay > a/file
    [ "$(box -- rg -l needle .)" = ./a/b/file ]
}

check_tar() {
    mkdir tree
    echo x > tree/file
    ln -s file tree/link
    ln tree/file tree/second
    box --allow-write=. -- tar -czf tree.tar.gz tree
    rm -r tree
    box --allow-write=. -- tar -xzf tree.tar.gz
    [ "$(cat tree/link)" = x ] && [ tree/file -ef tree/second ]
}

check_strace() {
    box --allow-write=. -- strace -f -o trace -e trace=execve sh -c 'true; env true'
    grep -q 'execve("/usr/bin/env"\|execve("/bin/env"' trace
}

check_ssh-keygen() {
    box --allow-write=. -- ssh-keygen -q -t ed25519 -N '' -C test -f key
    box -- ssh-keygen -l -f key.pub | grep -q ED25519
}

check_postgresql() {
    local bin
    bin=$(echo /usr/lib/postgresql/*/bin)
    [ -x "$bin/initdb" ]
    cat > session.sh << SCRIPT
set -e
"$bin/initdb" -D data -U tester --no-sync -A trust > /dev/null
"$bin/pg_ctl" -D data -w -l log -o "-c listen_addresses=127.0.0.1 -c port=54321 -c unix_socket_directories=\$PWD" start > /dev/null
psql -h "\$PWD" -p 54321 -U tester -d postgres -Atc 'SELECT sum(n) FROM generate_series(1, 10) AS n'
psql -h 127.0.0.1 -p 54321 -U tester -d postgres -Atc 'SELECT 7'
"$bin/pg_ctl" -D data -m fast stop > /dev/null
SCRIPT
    [ "$(box --allow-write=. -- sh session.sh | tr '\n' ' ')" = '55 7 ' ]
}

check_perl() {
    box --allow-write=. -- perl -MFile::Temp=tempfile -MSocket -e '
        my ($handle, $name) = tempfile(UNLINK => 1);
        print $handle "x"; close $handle;
        socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die $!;
        if (fork) { close $a; my $line = <$b>; wait; open(my $out, ">", "out") or die $!; print $out $line }
        else { close $b; print $a "from child\n"; exit }'
    grep -x 'from child' out
}

check_find-xargs() {
    mkdir -p a/b/c
    touch a/1 a/b/2 a/b/c/3
    [ "$(box -- sh -c 'find . -type f -print0 | xargs -0 -n 1 -P 2 basename | sort | tr "\n" " "')" = '1 2 3 ' ]
    box --allow-write=. -- sh -c 'find a -type f -delete && rmdir a/b/c && cp -a /etc/hostname copied && touch -d yesterday copied'
}

# ---- how they are run --------------------------------------------------------------------------------------------

# `box FLAGS -- COMMAND`
box() {
    if [ "$mode" = inside ]; then
        timeout -k 5 120 "$zerobox" --quiet "$@"
        return
    fi
    while [ "$1" != -- ]; do shift; done
    shift
    timeout -k 5 120 "$@"
}

# The words before a command, for programs that take one as text.
boxed() {
    [ "$mode" = bare ] || echo "$zerobox --quiet $* --"
}

judge() {
    bare_and_inside "check_$1" "$1"
    [ $? != 0 ] || echo "ok $label/$1"
}

frame "$@"
