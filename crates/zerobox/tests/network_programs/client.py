"""What programs in Python do on the network, one way each: `client.py WAY ARGUMENTS...`."""
import asyncio
import hashlib
import socket
import ssl
import sys
import threading
import time
import urllib.request

CA = "ca.pem"


def tcp(host, port):
    with socket.create_connection((host, port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.0\r\nHost: %s:%s\r\n\r\n" % (host.encode(), port.encode()))
        print(client.makefile().read())


def tls(host, port):
    context = ssl.create_default_context(cafile=CA)
    with context.wrap_socket(socket.create_connection((host, port), timeout=20), server_hostname=host) as client:
        client.sendall(b"GET / HTTP/1.0\r\nHost: %s\r\n\r\n" % host.encode())
        print(client.makefile().read())


def urllib_(url):
    with urllib.request.urlopen(url, context=ssl.create_default_context(cafile=CA), timeout=20) as reply:
        print(reply.read().decode())


def requests_(url):
    import requests

    with requests.Session() as session:
        session.verify = CA
        for _ in range(3):
            reply = session.get(url, timeout=20)
            reply.raise_for_status()
        print(reply.text)


def httpx_(url):
    import httpx

    with httpx.Client(verify=CA, timeout=20, http2=False) as client:
        print(client.get(url).raise_for_status() or client.get(url).text)


def asyncio_(host, port):
    """Ten connections at once, with the event loop's own look-ups."""

    async def one():
        context = ssl.create_default_context(cafile=CA)
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port, ssl=context), 20)
        writer.write(b"GET / HTTP/1.0\r\nHost: %s\r\n\r\n" % host.encode())
        body = await reader.read()
        writer.close()
        return body.decode()

    async def all_of_them():
        for body in await asyncio.gather(*(one() for _ in range(10))):
            print(body)

    asyncio.run(all_of_them())


def events(url):
    """Server-sent events have to arrive one by one: prints how many came alone."""
    alone, before = 0, time.monotonic()
    with urllib.request.urlopen(url, context=ssl.create_default_context(cafile=CA), timeout=20) as reply:
        for line in reply:
            if line.startswith(b"data:"):
                now = time.monotonic()
                alone += now - before > 0.15
                before = now
    print(f"{alone} alone")


def half_close(host, port, size):
    """Sends, shuts its direction down, and reads the whole answer after that."""
    with socket.create_connection((host, port), timeout=20) as client:
        data = bytes(int(size))
        client.sendall(b"POST /sha256 HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\nContent-Length: %s\r\n\r\n"
                       % (host.encode(), port.encode(), size.encode()))
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert hashlib.sha256(data).hexdigest() in client.makefile().read()
        print("whole")


def datagram(host, port):
    """As QUIC begins: has to be refused at once, so that the client goes on with TCP."""
    address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(address[0], socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(address[4])
        client.send(b"x" * 1200)
        client.recv(1)


def many(host, port, count):
    """Connections at the same time that are all open before the first of them says anything."""
    clients = [socket.create_connection((host, port), timeout=20) for _ in range(int(count))]
    for client in clients:
        client.sendall(b"GET / HTTP/1.0\r\nHost: %s:%s\r\n\r\n" % (host.encode(), port.encode()))
    print(sum("hello" in client.makefile().read() for client in clients), "answers")


def own_server(port):
    """A test suite's server: thread and client on the loopback, on a port that a server of the host may have too."""
    server = socket.create_server(("127.0.0.1", int(port)))

    def serve():
        client, _ = server.accept()
        with client:
            client.sendall(client.recv(100).upper())

    threading.Thread(target=serve, daemon=True).start()
    with socket.create_connection(("localhost", port), timeout=20) as client:
        client.sendall(b"inside")
        print(client.recv(100).decode())


def echo_datagram(port):
    """A server of datagrams and its client, both inside."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket(
        socket.AF_INET, socket.SOCK_DGRAM
    ) as client:
        server.bind(("127.0.0.1", int(port)))
        client.sendto(b"datagram", server.getsockname())
        print(server.recv(100).decode())


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(count))]
    print(*(server.getsockname()[1] for server in sockets))


WAYS = {
    "tcp": tcp, "tls": tls, "urllib": urllib_, "requests": requests_, "httpx": httpx_, "asyncio": asyncio_,
    "events": events, "half-close": half_close, "datagram": datagram, "many": many, "own-server": own_server,
    "echo-datagram": echo_datagram, "free-ports": free_ports,
}  # fmt: skip

if __name__ == "__main__":
    try:
        WAYS[sys.argv[1]](*sys.argv[2:])
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
