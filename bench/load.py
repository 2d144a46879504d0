"""The loads of bench/network and bench/secrets: a server, and one client for each way to it."""

import contextlib
import dataclasses
import os
import pathlib
import select
import shutil
import socket
import subprocess

import subjects
from measure import Failed

HERE = pathlib.Path(__file__).resolve().parent
NAME = "bench.test"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class Way:
    """A way from a client to the server."""

    name: str
    argv: list  # what the client runs in
    host: str
    port: int
    relay: int = 0  # the process between the two; of a sandbox it is the one that was started
    version: str = ""


class Load:
    """The server and its clients. All of them are gone on exit."""

    name = "netload"
    libraries = ()

    def __init__(self, ws):
        self.ws = ws
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            self.tools = self.ws.root / "tools"
            self.tools.mkdir()
            self.program = compiled(self.tools, self.name, self.libraries)
            server = self.start([self.program, "serve", *self.serve()])
            self.port = int(server.stdout.readline() or 0)
            if not self.port:
                raise Failed("the server did not start")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._stack.close()

    def serve(self):
        """What the server is told."""
        return []

    def start(self, argv):
        """Starts what ends with its standard input, or is made to end."""
        pipe = subprocess.PIPE
        child = self.ws.start(argv, self.ws.empty, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        self._stack.callback(end, child)
        return child

    def client(self, way):
        return Client(way, self.start([*way.argv, self.program, "client", *self.to(way)]))

    def to(self, way):
        """What the client is told."""
        return [way.host, str(way.port)]

    def direct(self):
        return Way("direct", [], "127.0.0.1", self.port)

    def zerobox(self):
        """A name that is allowed and leads to the server: the proxy decides, and the address is pinned."""
        rules = [f"--allow-net={NAME}", f"--resolve={NAME}:{self.port}:127.0.0.1"]
        argv = [str(self.ws.zerobox), f"--allow-read={self.tools}", *rules, "--"]
        return Way("zerobox", argv, NAME, self.port)

    def nginx(self):
        """A plain relay without any sandbox or decision, and why there is none."""
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:{subjects.SYSTEM_PATH}")
        module = program and pathlib.Path(program).parent.parent / "lib/nginx/modules/ngx_stream_module.so"
        if not program:
            return None, "it is not installed"
        if not module.exists():
            return None, "it has no stream module (libnginx-mod-stream)"
        with self.ws.as_user():
            root = self.ws.directory("scratch/nginx")
            port = free_port()
            conf = root / "nginx.conf"
            conf.write_text(NGINX.format(module=module, root=root, port=port, server=self.port))
        child = self.start([program, "-p", str(root), "-c", str(conf), "-e", str(root / "error.log")])
        way = Way("nginx stream", [], "127.0.0.1", port, child.pid)
        way.version = subjects.version(self.ws, "nginx", [program, "-v"])
        return way, None

    def peers(self):
        """Other sandboxes that bring connections to a relay of theirs without the program's help."""
        variants = {
            # Not a filter: a network namespace, and a port of its loopback that leads to the host's.
            "pasta": ["--config-net", "--quiet", "-T", str(self.port), "--"],
        }
        for name, arguments in variants.items():
            if program := shutil.which(name):
                way = Way(name, [program, *arguments], "127.0.0.1", self.port)
                way.version = subjects.version(self.ws, name, [program, "--version"])
                yield way


class Client:
    """A client that takes one command after another, so that no start-up is part of any figure."""

    def __init__(self, way, child):
        self.way = way
        self.child = child
        self.relay = way.relay or child.pid

    def ask(self, command, seconds=60):
        """The numbers that the client answers with."""
        try:
            self.child.stdin.write(f"{command}\n".encode())
            self.child.stdin.flush()
        except OSError as error:
            raise Failed(f"the client of `{self.way.name}` is gone") from error
        if not select.select([self.child.stdout], [], [], seconds)[0]:
            raise Failed(f"no answer to `{command}` of `{self.way.name}` in {seconds} s")
        answer = self.child.stdout.readline().decode(errors="replace").strip()
        if not answer.startswith("ok "):
            raise Failed(f"`{command}` of `{self.way.name}`: {answer or 'the client is gone'}")
        return [int(word) for word in answer.split()[1:]]

    def cpu(self):
        """Seconds of CPU that the process between client and server has had, all its threads together."""
        fields = pathlib.Path(f"/proc/{self.relay}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def compiled(folder, name, libraries=()):
    """The program that `name`.c beside us becomes, in `folder`."""
    program, source = str(folder / name), str(HERE / f"{name}.c")
    build = ["cc", "-O2", "-pthread", "-o", program, source, *(f"-l{library}" for library in libraries)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"cannot compile `{name}.c`: {done.stderr.strip()}")
    return program


def end(child):
    """Closes the input of `child`, which should be enough."""
    child.stdin.close()
    try:
        child.wait(timeout=2)
    except subprocess.TimeoutExpired:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=5)
    if child.poll() is None:
        child.kill()
        child.wait()
    child.stdout.close()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


# As nginx is without any setting of its own, but for what a lone unprivileged process needs.
NGINX = """load_module {module};
daemon off;
master_process off;
pid {root}/pid;
error_log {root}/error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 8192; }}
stream {{ server {{ listen 127.0.0.1:{port} backlog=4096; proxy_pass 127.0.0.1:{server}; }} }}
"""
