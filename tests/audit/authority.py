"""A tiny time-stamping authority: OpenSSL behind HTTP, with a certificate of its own."""

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509

Answer = Callable[[bytes], tuple[int, str, bytes]]

_CONFIG = """
[tsa]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[stamps]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
"""


class Authority:
    """Its keys in a folder, and what it answers."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed: there is no authority to ask")
        self._folder = folder
        folder.mkdir()
        (folder / "serial").write_text("01\n")
        (folder / "config").write_text(_CONFIG.format(folder=folder))
        for name, subject in (("ca", "/CN=A root"), ("tsa", "/CN=An authority")):
            self._openssl(
                *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject),
            )
        self._signed("ca", "ca", "-signkey", "ca.key")
        self._signed("tsa", "stamps", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")

    @property
    def root(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self._folder / "ca.pem").read_bytes())

    @property
    def root_file(self) -> Path:
        return self._folder / "ca.pem"

    def stamp(self, question: bytes) -> tuple[int, str, bytes]:
        """What it answers to a question."""
        (self._folder / "question").write_bytes(question)
        self._openssl(
            *("ts", "-reply", "-config", "config", "-section", "tsa", "-queryfile", "question"),
            *("-inkey", "tsa.key", "-signer", "tsa.pem", "-out", "answer"),
        )
        return 200, "application/timestamp-reply", (self._folder / "answer").read_bytes()

    def _signed(self, name: str, section: str, *words: str) -> None:
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", "2"),
            *("-extfile", "config", "-extensions", section, *words),
        )

    def _openssl(self, *words: str) -> None:
        subprocess.run(
            ["openssl", *words], cwd=self._folder, check=True, capture_output=True, timeout=20
        )


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """An HTTP server that answers so, at the address that this gives."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = self.rfile.read(int(self.headers["content-length"]))
            status, kind, content = answer(question)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
