"""Make certificates for trying out `wss:` on your own machine; never for a server that others use.

    pip install trustme
    python examples/make_certificates.py --folder /tmp/certificates localhost 127.0.0.1 ::1
    python examples/server.py --ssl /tmp/certificates/server.pem /tmp/certificates/server.key
    python examples/client.py --cacert /tmp/certificates/ca.pem wss://localhost:8000

Writes `ca.pem` for clients, and `server.pem` and `server.key` for the server. The authority's own key is
thrown away, so nobody can make further certificates that those clients would trust.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

try:
    import trustme
except ImportError:
    sys.exit("This example needs trustme, which makes the certificates: pip install trustme")


def make_certificates(folder: Path, names: list[str]) -> list[Path]:
    """Write the three files into `folder`; return their paths."""
    ca = trustme.CA()
    server = ca.issue_cert(*names)
    folder.mkdir(parents=True, exist_ok=True)
    ca_path, certificate_path, key_path = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    ca_path.write_bytes(ca.cert_pem.bytes())
    certificate_path.write_bytes(b"".join(pem.bytes() for pem in server.cert_chain_pems))
    key_path.unlink(missing_ok=True)
    # The key is for its owner's eyes only from the first moment on.
    descriptor = os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(server.private_key_pem.bytes())
    return [ca_path, certificate_path, key_path]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Make a certificate authority and a server certificate for tests."
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        default=["localhost", "127.0.0.1", "::1"],
        help="host names and addresses of the server (localhost 127.0.0.1 ::1)",
    )
    parser.add_argument("--folder", type=Path, default=Path(), help="where to write the files (here)")
    args = parser.parse_args()
    for path in make_certificates(args.folder, args.names):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
