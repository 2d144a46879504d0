"""A mail server that speaks first and offers STARTTLS: `smtp_server.py DIRECTORY` (cert.pem, key.pem; writes smtp.port)."""
import os
import socketserver
import ssl
import sys

DIRECTORY = sys.argv[1]


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.say("220 mail.test ready")
        while line := self.rfile.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"EHLO":
                self.say("250-mail.test", "250 STARTTLS")
            elif verb == b"STARTTLS":
                self.say("220 go ahead")
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(f"{DIRECTORY}/cert.pem", f"{DIRECTORY}/key.pem")
                self.request = context.wrap_socket(self.request, server_side=True)
                self.setup()
            elif verb == b"DATA":
                self.say("354 go on")
                while self.rfile.readline() != b".\r\n":
                    pass
                self.say("250 taken")
            elif verb == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def say(self, *lines):
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


with Server(("127.0.0.1", 0), Session) as server:
    with open(f"{DIRECTORY}/smtp.new", "w") as file:
        file.write(str(server.server_address[1]))
    os.rename(f"{DIRECTORY}/smtp.new", f"{DIRECTORY}/smtp.port")
    server.serve_forever()
