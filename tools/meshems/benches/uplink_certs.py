"""Certificates made at test time with the openssl program: ECDSA P-256, as the gateway's documentation asks for.

    ca = Authority(tmp_path / "ca")
    ca.issue(tmp_path / "server", "IP:127.0.0.1")                   # server.pem, server.key
    ca.der                                                           # what the gateway pins
"""

import shutil
import subprocess
from datetime import datetime, timedelta, timezone

CONFIG = """
[ca]
default_ca = it
[it]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""


def openssl(*arguments):
    program = shutil.which("openssl")
    if not program:
        raise RuntimeError("install openssl: apt-get install openssl")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Authority:
    """A certificate authority with its files in `folder`."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        self._folder = folder
        self._key, self._pem = folder / "ca.key", folder / "ca.pem"
        self.der = folder / "ca.der"
        (folder / "index.txt").touch()
        (folder / "ca.cnf").write_text(CONFIG.format(folder=folder))
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self._key)
        openssl("req", "-x509", "-new", "-key", self._key, "-sha256", "-days", "3650", "-subj", "/CN=test authority",
                "-out", self._pem)  # fmt: skip
        openssl("x509", "-in", self._pem, "-outform", "DER", "-out", self.der)

    def issue(self, path, name, begin_days=-1, end_days=365):
        """Write path.pem and path.key for a server called `name` ("IP:127.0.0.1"), valid from and to days from now."""
        now = datetime.now(timezone.utc)
        begin, end = (f"{now + timedelta(days=days):%Y%m%d%H%M%SZ}" for days in (begin_days, end_days))
        key, request, pem = (path.with_suffix(suffix) for suffix in (".key", ".csr", ".pem"))
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        openssl("req", "-new", "-key", key, "-subj", "/CN=broker", "-addext", f"subjectAltName={name}",
                "-out", request)  # fmt: skip
        openssl("ca", "-batch", "-notext", "-config", self._folder / "ca.cnf", "-cert", self._pem, "-keyfile",
                self._key, "-in", request, "-out", pem, "-startdate", begin, "-enddate", end)  # fmt: skip
