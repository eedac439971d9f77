"""An authority that gives out certificates for tests on this machine, by the program openssl."""

import subprocess
import tempfile
from pathlib import Path

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*arguments):
    """Runs it, and passes on what it says if it fails."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"openssl {arguments[0]} failed: {done.stderr}")
    return done.stdout


class Authority:
    """One of them. What it gives out holds for a day."""

    def __init__(self, folder):
        self.folder = Path(tempfile.mkdtemp(prefix="authority-", dir=folder))
        self.key, self.file, self.config = (self.folder / name for name in ("ca.key", "ca.crt", "ca.cnf"))
        openssl("req", "-x509", *CURVE, "-days", 1, "-subj", f"/CN={self.folder.name}", "-keyout", self.key, "-out", self.file,
                "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
        (self.folder / "index.txt").touch()
        self.config.write_text(
            "[ca]\ndefault_ca = own\n[own]\ndefault_md = sha256\nrand_serial = yes\nunique_subject = no\n"
            f"database = {self.folder}/index.txt\nnew_certs_dir = {self.folder}\npolicy = any\n"
            "[any]\ncommonName = supplied\n"
        )
        self.pem = self.file.read_text()

    def certify(self, name, expired=False):
        """A certificate for both sides of a connection on loopback, and its key, in PEM."""
        stem = Path(tempfile.mkdtemp(dir=self.folder)) / name
        key, request, out, extensions = (stem.with_suffix(end) for end in (".key", ".csr", ".crt", ".ext"))
        extensions.write_text(
            f"subjectAltName=DNS:{name},IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n"
        )
        openssl("req", *CURVE, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        lasting = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"] if expired else ["-days", 1]
        openssl("ca", "-batch", "-notext", "-config", self.config, "-cert", self.file, "-keyfile", self.key, *lasting,
                "-extfile", extensions, "-in", request, "-out", out)  # fmt: skip
        return out.read_text(), key.read_text()


class Side:
    """The files of one side of a connection. Each is replaced at once, as mounted secrets are."""

    def __init__(self, folder, name):
        self.name, self.folder = name, Path(folder) / f"{name}.tls"
        self.folder.mkdir()
        self.certificate, self.key, self.ca = (self.folder / file for file in ("tls.crt", "tls.key", "ca.crt"))

    def trust(self, *authorities):
        """Replaces whom it trusts."""
        replace(self.ca, "".join(authority.pem for authority in authorities))

    def own(self, authority, expired=False):
        """Replaces what it shows."""
        certificate, key = authority.certify(self.name, expired)
        replace(self.certificate, certificate)
        replace(self.key, key)


def replace(path, text):
    """Puts another file in the place of one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)
