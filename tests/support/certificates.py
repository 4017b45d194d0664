"""Certificates for TLS tests: a CA made on the spot, and a server certificate for every name of the loopback.

A plugin of the tests' conftest: take the fixture `certificates`, or `certificate_files` for programs of their own.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

# Every name by which a test reaches its own machine.
SERVER_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class CertificateFiles:
    """Where the certificates lie, for programs that take files."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, eq=False)
class Certificates:
    """A certificate authority, and a server certificate issued by it."""

    authority: trustme.CA
    server: trustme.LeafCert

    @classmethod
    def create(cls) -> Certificates:
        """Make them anew; takes a few milliseconds."""
        authority = trustme.CA()
        return cls(authority, authority.issue_cert(*SERVER_NAMES))

    def server_context(self) -> ssl.SSLContext:
        """A new context with which a server proves to be `SERVER_NAMES`."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.server.configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        """A new context that trusts our authority and checks the server's name."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def write(self, folder: Path) -> CertificateFiles:
        """Write them as PEM files into `folder`."""
        files = CertificateFiles(folder / "ca.pem", folder / "server.pem", folder / "server.key")
        self.authority.cert_pem.write_to_path(str(files.ca))
        self.server.private_key_pem.write_to_path(str(files.key))
        files.certificate.write_bytes(b"".join(blob.bytes() for blob in self.server.cert_chain_pems))
        return files


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    """The certificates of this test run."""
    return Certificates.create()


@pytest.fixture(scope="session")
def certificate_files(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> CertificateFiles:
    """The same as files, for programs of their own."""
    return certificates.write(tmp_path_factory.mktemp("certificates"))
