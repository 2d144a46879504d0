"""gRPC over TLS or in clear (CA `-`), without generated code: `serve DIRECTORY`, `call CA HOST PORT`."""
import os
import sys
from concurrent import futures

import grpc


class Shout(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == "/test.Shout/Once":
            return grpc.unary_unary_rpc_method_handler(lambda text, _: text.upper())
        if details.method == "/test.Shout/Stream":
            return grpc.stream_stream_rpc_method_handler(lambda texts, _: (text.upper() for text in texts))
        return None


def serve(directory):
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Shout()])
    pair = [open(f"{directory}/{name}.pem", "rb").read() for name in ("key", "cert")]
    ports = {
        "grpc": server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([tuple(pair)])),
        "grpc_clear": server.add_insecure_port("127.0.0.1:0"),
    }
    server.start()
    for name, port in ports.items():
        with open(f"{directory}/{name}.new", "w") as file:
            file.write(str(port))
        os.rename(f"{directory}/{name}.new", f"{directory}/{name}.port")
    server.wait_for_termination()


def call(ca, host, port):
    with channel_to(ca, f"{host}:{port}") as channel:
        try:
            print(channel.unary_unary("/test.Shout/Once")(b"hello", timeout=20).decode())
            words = channel.stream_stream("/test.Shout/Stream")(iter([b"a", b"b", b"c"]), timeout=20)
            print(b"".join(words).decode())
        except grpc.RpcError as error:
            sys.exit(f"{error.code().name}: {error.details()}")


def channel_to(ca, target):
    if ca == "-":
        return grpc.insecure_channel(target)
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(open(ca, "rb").read()))


{"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
