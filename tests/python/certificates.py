"""Makes a certificate authority and, for a server at the IP address in the first argument and under no other name, a key and a
certificate of that authority. Prints {authority, certificate, key} as JSON, each in PEM."""

import datetime
import ipaddress
import json
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

address = ipaddress.ip_address(sys.argv[1])
AUTHORITY_KEY = ec.generate_private_key(ec.SECP256R1())
SERVER_KEY = ec.generate_private_key(ec.SECP256R1())
AUTHORITY = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A test's own authority")])
SERVER = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A test's own server")])


def certificate(subject, key, *extensions):
    """Signed by the authority, for a day."""
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(AUTHORITY, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(AUTHORITY_KEY, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


print(
    json.dumps(
        {
            "authority": certificate(AUTHORITY, AUTHORITY_KEY, (x509.BasicConstraints(True, None), True)),
            "certificate": certificate(
                SERVER, SERVER_KEY, (x509.SubjectAlternativeName([x509.IPAddress(address)]), False)
            ),
            "key": SERVER_KEY.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ).decode(),
        }
    )
)
