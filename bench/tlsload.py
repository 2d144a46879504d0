"""The load of bench/secrets: tlsload.c, the certificates of its server, and the ways that lead there."""

import pathlib
import subprocess

from load import NAME, Load, Way
from measure import Failed

# Letters that tlsload.c can find in what HTTP/2 packs, and no shape that is known of keys.
SECRET = "0a1c2e1o" * 5
BUNDLES = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"]


class TlsLoad(Load):
    """A server with a certificate of an authority of our own, which clients believe beside the machine's."""

    name = "tlsload"
    libraries = ("ssl", "crypto")

    def serve(self):
        self.authority, self.bundle = self.tools / "authority.pem", self.tools / "bundle.pem"
        config = self.tools / "openssl.cnf"
        config.write_text(CONFIG)
        self.certificate(config, "authority", "bench", [])
        signed = ["-CA", str(self.authority), "-CAkey", str(self.tools / "authority.key")]
        self.certificate(config, "server", NAME, signed)
        system = [path for path in map(pathlib.Path, BUNDLES) if path.exists()]
        if not system:
            raise Failed("no bundle of certificates is installed (ca-certificates)")
        self.bundle.write_text(system[0].read_text() + self.authority.read_text())
        self.ws.variables |= {"BENCH_KEY": SECRET, "SSL_CERT_FILE": str(self.bundle)}
        return [str(self.tools / "server.pem"), str(self.tools / "server.key"), SECRET]

    def certificate(self, config, name, common, signed):
        key = self.tools / f"{name}.key"
        argv = ["openssl", "req", "-x509", "-config", str(config), "-extensions", name, "-days", "2", "-nodes"]
        argv += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", f"/CN={common}"]
        argv += ["-keyout", str(key), "-out", str(self.tools / f"{name}.pem"), *signed]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"openssl makes no certificate: {done.stderr.strip()}")
        # The server is an unprivileged user.
        key.chmod(0o644)

    def to(self, way):
        return [NAME, way.host, str(way.port)]

    def zerobox(self, name, flags):
        argv = [str(self.ws.zerobox), f"--allow-read={self.tools}", f"--resolve={NAME}:{self.port}:127.0.0.1"]
        return Way(name, [*argv, *flags, "--"], NAME, self.port)

    def spliced(self):
        """The name is allowed, and what is said to it passes as it is."""
        shown = [f"--env={name}={value}" for name, value in self.ws.variables.items()]
        return self.zerobox("passed through", [f"--allow-net={NAME}:{self.port}", *shown])

    def inspected(self):
        """The command has a placeholder, and the value is put in."""
        secret = ["--secret=BENCH_KEY", f"--secret-host=BENCH_KEY={NAME}:{self.port}"]
        return self.zerobox("inspected", [*secret, f"--upstream-ca={self.authority}"])


CONFIG = f"""[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:{NAME}
"""
