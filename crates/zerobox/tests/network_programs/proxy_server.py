"""A company's proxy that wants a password and leads every name to one server: `proxy_server.py DIRECTORY PORT`.

Writes its own port to proxy.port and the requests that it took to proxy.log.
"""
import os
import socket
import socketserver
import sys
import threading

DIRECTORY, PORT = sys.argv[1], int(sys.argv[2])
AUTHORIZATION = "Basic dXNlcjpzZWNyZXQ="  # user:secret


class Session(socketserver.StreamRequestHandler):
    rbufsize = 0

    def handle(self):
        request = self.rfile.readline().decode().strip()
        headers = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("proxy-authorization") != AUTHORIZATION:
            self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        if not request.startswith("CONNECT "):
            self.wfile.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return
        with open(f"{DIRECTORY}/proxy.log", "a") as log:
            print(request, file=log)
        with socket.create_connection(("127.0.0.1", PORT)) as server:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            threading.Thread(target=copy, args=(server, self.connection), daemon=True).start()
            copy(self.connection, server)


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


with Server(("127.0.0.1", 0), Session) as server:
    with open(f"{DIRECTORY}/proxy.new", "w") as file:
        file.write(str(server.server_address[1]))
    os.rename(f"{DIRECTORY}/proxy.new", f"{DIRECTORY}/proxy.port")
    server.serve_forever()
