"""Makes keys and tokens with PyJWT. Reads {subject, issuer, audience} as JSON from the first argument, and prints
{jwks, good, bad}: a JWK Set, tokens that are good with it by what they are, and tokens that are not.

What PyJWT refuses to make is put together by hand."""

import base64
import hashlib
import hmac
import itertools
import json
import sys
import time
import zlib

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

wanted = json.loads(sys.argv[1])
NOW = int(time.time())
ALGORITHMS = ("RS256", "ES256", "EdDSA")
# The orders of the groups of P-256 (SEC 2 §2.4.2) and of Ed25519 (RFC 8032 §5.1).
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493

SHA256 = hashes.SHA256()
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
ATTACKER = rsa.generate_private_key(65537, 2048)


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def part(value):
    """A part of a token: JSON, or bytes that are to be taken for it."""
    return base64url(value if isinstance(value, bytes) else json.dumps(value).encode())


def claims(**changes):
    """The claims of a good token; None leaves one out."""
    all_of_them = {
        "sub": wanted["subject"],
        "iss": wanted["issuer"],
        "aud": wanted["audience"],
        "iat": NOW,
        "exp": NOW + 600,
        **changes,
    }
    return {name: value for name, value in all_of_them.items() if value is not None}


def jws(header=None, payload=None, algorithm="RS256", key=RSA, kid="rsa"):
    """By PyJWT, of any payload: its `encode` of claims checks some of them."""
    payload = json.dumps(claims()).encode() if payload is None else payload
    return jwt.PyJWS().encode(payload, key, algorithm=algorithm, headers={"kid": kid, **(header or {})})


def by_rsa(header=None, **changes):
    """A token that is good but for what is said."""
    return jws(header, json.dumps(claims(**changes)).encode())


def by_hand(header, sign, payload=None):
    """A token with any header at all."""
    message = f"{part(header)}.{part(claims() if payload is None else payload)}"
    return f"{message}.{base64url(sign(message.encode()))}"


def rs256(message, key=RSA):
    return key.sign(message, padding.PKCS1v15(), SHA256)


def es256(message, key=EC, digest=SHA256):
    r, s = utils.decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
    size = (key.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def hs256(secret):
    return lambda message: hmac.digest(secret, message, hashlib.sha256)


def signed_again(token, change):
    """With another signature, made of the right one."""
    message, _, signature = token.rpartition(".")
    return f"{message}.{base64url(change(decoded(signature)))}"


def jwk(key, algorithm, kid):
    shown = algorithm.to_jwk(key.public_key() if hasattr(key, "public_key") else key, as_dict=True)
    return {**shown, "kid": kid, "use": "sig"}


def unencoded():
    """A payload that is no base64url (RFC 7797); a dot would end it."""
    header = {"alg": "RS256", "kid": "rsa", "b64": False, "crit": ["b64"]}
    payload = json.dumps(claims()).replace(".", "\\u002e")
    message = f"{part(header)}.{payload}"
    return f"{message}.{base64url(rs256(message.encode()))}"


def with_modulus_added():
    """Another number for the same signature, which fits into as many bytes (RFC 8017 §8.2.2: s is less than n)."""
    n = RSA.public_key().public_numbers().n
    for number in itertools.count():
        message, _, signature = by_rsa(jti=str(number)).rpartition(".")
        s = int.from_bytes(decoded(signature), "big") + n
        if s < 2**2048:
            return f"{message}.{base64url(s.to_bytes(256, 'big'))}"


good = {
    "RS256": jwt.encode(claims(), RSA, algorithm="RS256", headers={"kid": "rsa"}),
    "ES256": jwt.encode(claims(), EC, algorithm="ES256", headers={"kid": "ec"}),
    "EdDSA": jwt.encode(claims(), ED, algorithm="EdDSA", headers={"kid": "ed"}),
    "no kid": jwt.encode(claims(), EC, algorithm="ES256"),
    "for several audiences": by_rsa(aud=["others", wanted["audience"]]),
    "times with fractions": by_rsa(iat=NOW - 0.5, exp=NOW + 600.5),
    "of a clock that is ahead": by_rsa(iat=NOW + 60, nbf=NOW + 60),
}

pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
der = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
rsa_jwk, ec_jwk, ed_jwk = jwk(RSA, RSAAlgorithm, "rsa"), jwk(EC, ECAlgorithm, "ec"), jwk(ED, OKPAlgorithm, "ed")
# For others: a secret, and keys for encryption.
SECRET = b"a secret of more than thirty-two bytes"
others = [
    {"kty": "oct", "k": base64url(SECRET), "kid": "secret"},
    {**jwk(ATTACKER, RSAAlgorithm, "encryption"), "use": "enc"},
    {**jwk(ATTACKER, RSAAlgorithm, "operations"), "key_ops": ["encrypt", "wrapKey"]},
]
keys = [rsa_jwk, ec_jwk, ed_jwk]

no_signature = {
    "none": jwt.encode(claims(), None, algorithm="none"),
    "none with a kid": jwt.encode(claims(), None, algorithm="none", headers={"kid": "rsa"}),
    **{f"alg {name}": by_hand({"alg": name, "kid": "rsa"}, lambda _: b"") for name in ("None", "NONE", "nOnE", "")},
    "none, but signed": by_hand({"alg": "none", "kid": "rsa"}, rs256),
    "no alg": by_hand({"typ": "JWT", "kid": "rsa"}, rs256),
    **{f"an empty signature of {name}": token.rpartition(".")[0] + "." for name, token in good.items()},
    "no third part": good["RS256"].rpartition(".")[0],
}

by_a_public_key = {
    f"HS256 by {what}": by_hand({"alg": "HS256", "typ": "JWT", "kid": kid}, hs256(secret))
    for kid, what, secret in (
        ("rsa", "the public key's PEM", pem),
        ("rsa", "the public key's PEM without its last line end", pem.rstrip()),
        ("rsa", "the public key's DER", der),
        ("rsa", "the public key's modulus", decoded(rsa_jwk["n"])),
        ("rsa", "the public key's JSON", json.dumps(rsa_jwk).encode()),
        ("ec", "the public key's point", EC.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)),
        ("ed", "the public key's bytes", decoded(ed_jwk["x"])),
        ("rsa", "nothing", b""),
    )
}

other_algorithms = {
    **{f"{name} with the right key": jws(algorithm=name) for name in ("RS384", "RS512", "PS256", "PS384", "PS512")},
    **{f"alg {name}, signed so": by_hand({"alg": name, "kid": "rsa"}, rs256) for name in ("rs256", "Rs256", "RS256 ")},
    **{f"alg {name}, signed so": by_hand({"alg": name, "kid": "ec"}, es256) for name in ("es256", "ES256K")},
    "alg a list": by_hand({"alg": ["RS256"], "kid": "rsa"}, rs256),
    "alg a number": by_hand({"alg": 256, "kid": "rsa"}, rs256),
    "ES384": jws(algorithm="ES384", key=ec.generate_private_key(ec.SECP384R1()), kid="ec"),
    "ES256 by a key of P-384": by_hand(
        {"alg": "ES256", "kid": "ec"}, lambda m: es256(m, ec.generate_private_key(ec.SECP384R1()))
    ),
    "ES256 over another hash": by_hand({"alg": "ES256", "kid": "ec"}, lambda m: es256(m, digest=hashes.SHA512())),
    "EdDSA by Ed448": jws(algorithm="EdDSA", key=ed448.Ed448PrivateKey.generate(), kid="ed"),
    **{
        f"the signature of {of} with the header of {to}": f"{good[to].rpartition('.')[0]}.{good[of].rpartition('.')[2]}"
        for of, to in itertools.permutations(ALGORITHMS, 2)
    },
}

other_keys = {
    "another's key": jws(key=ATTACKER),
    "a secret of the set": jws(algorithm="HS256", key=SECRET, kid="secret"),
    "a key of the set for encryption": jws(key=ATTACKER, kid="encryption"),
    "a key of the set for other operations": jws(key=ATTACKER, kid="operations"),
    "another's key without kid": jwt.encode(claims(), ATTACKER, algorithm="RS256"),
    "another's key, which it brings along": jws({"jwk": jwk(ATTACKER, RSAAlgorithm, "rsa")}, key=ATTACKER),
    "another's key, by its certificate": jws({"x5c": [base64.b64encode(der).decode()]}, key=ATTACKER),
    **{
        f"another's key, to be fetched by {name}": jws({name: "http://127.0.0.1:1/keys"}, key=ATTACKER)
        for name in ("jku", "x5u")
    },
    **{
        f"kid {kid!r}": by_rsa({"kid": kid})
        for kid in ("ec", "rsa2", "RSA", "rsa ", "", "rsa\0", "*", "../../dev/null", "/proc/self/environ")
        + ("rsa' or '1'='1", "http://127.0.0.1:1/")
    },
    **{f"kid {kid}, of JSON": by_hand({"alg": "RS256", "kid": kid}, rs256) for kid in (["rsa"], {"rsa": 1}, 0, True)},
}

wrong_headers = {
    "crit": by_rsa({"crit": ["exp"], "exp": NOW + 600}),
    "crit without names": by_hand({"alg": "RS256", "kid": "rsa", "crit": []}, rs256),
    "crit that is no list": by_hand({"alg": "RS256", "kid": "rsa", "crit": "exp"}, rs256),
    "b64 false, payload elsewhere": jws({"b64": False}),
    "b64 false, payload in it": unencoded(),
    "alg twice, the last one right": by_hand(b'{"alg":"none","kid":"rsa","alg":"RS256"}', rs256),
    "alg twice, the first one right": by_hand(b'{"alg":"RS256","kid":"rsa","alg":"none"}', rs256),
    "kid twice": by_hand(b'{"alg":"RS256","kid":"ec","kid":"rsa"}', rs256),
    "a header that is no object": by_hand(b"[]", rs256),
    "a header that is no JSON": by_hand(b"{", rs256),
    "a header that is no UTF-8": by_hand(b'{"alg":"RS256","kid":"rsa","name":"\xff"}', rs256),
    "a header with more behind it": by_hand(b'{"alg":"RS256","kid":"rsa"}{}', rs256),
    "a compressed payload": by_hand(
        {"alg": "RS256", "kid": "rsa", "zip": "DEF"}, rs256, zlib.compress(json.dumps(claims()).encode())
    ),
}

wrong_claims = {
    "expired": by_rsa(exp=NOW - 1),
    "expired long ago": by_rsa(exp=0),
    "exp before the beginning": by_rsa(exp=-1),
    "no exp": by_rsa(exp=None),
    "exp as text": by_rsa(exp=str(NOW + 600)),
    "exp that is no number": jws(payload=json.dumps(claims(exp=float("nan"))).encode()),
    "exp without end": jws(payload=json.dumps(claims(exp=float("inf"))).encode()),
    "not yet": by_rsa(nbf=NOW + 3600),
    "not before a text": by_rsa(nbf=str(NOW - 300)),
    "made in the far future": by_rsa(iat=NOW + 3600),
    "made at no time": by_rsa(iat="today"),
    "of another issuer": by_rsa(iss="https://elsewhere.example"),
    "of another issuer, as a list": by_rsa(iss=["https://elsewhere.example"]),
    "of several issuers": by_rsa(iss=["https://elsewhere.example", wanted["issuer"]]),
    "of an issuer that begins alike": by_rsa(iss=wanted["issuer"] + ".elsewhere.example"),
    "of no issuer": by_rsa(iss=None),
    "for another audience": by_rsa(aud="others"),
    "for other audiences": by_rsa(aud=["others", wanted["audience"] + "s"]),
    "for a part of the audience": by_rsa(aud=wanted["audience"][:-1]),
    "for an empty list": by_rsa(aud=[]),
    "for nobody": by_rsa(aud=None),
    "sub twice": jws(
        {}, json.dumps(claims()).replace("{", '{"sub": "0de30000-0000-4000-8000-000000000001", ', 1).encode()
    ),
    "exp twice": jws(payload=json.dumps(claims()).replace("{", f'{{"exp": {NOW - 1}, ', 1).encode()),
    "a token in a token": jws({"cty": "JWT"}, good["RS256"].encode()),
    "a payload that is no object": jws(payload=json.dumps([claims()]).encode()),
    "a payload that is no JSON": jws(payload=b"sub"),
    "a payload that is no UTF-8": jws(payload=json.dumps(claims(name="\xff"), ensure_ascii=False).encode("latin-1")),
    "no payload": jws(payload=b""),
}

header, payload, signature = good["RS256"].split(".")
forms = {
    "of four parts": f"{good['RS256']}.{signature}",
    "of five parts": f"{header}.{payload}.{signature}.{payload}.{signature}",
    "in JSON": json.dumps({"payload": payload, "protected": header, "signature": signature}),
    "with padding": good["ES256"] + "==",
    "with blanks in it": good["RS256"].replace(".", " . "),
    "its payload exchanged": f"{header}.{part(claims(sub='0de30000-0000-4000-8000-000000000001'))}.{signature}",
    "its header exchanged": f"{part({'kid': 'rsa', 'alg': 'RS256', 'typ': 'JWT'})}.{payload}.{signature}",
}

wrong_signatures = {
    **{
        f"{name}: {what}": signed_again(good[name], change)
        for name in ALGORITHMS
        for what, change in {
            "cut": lambda s: s[:-6],
            "longer by a byte": lambda s: s + b"\0",
            "a zero before it": lambda s: b"\0" + s,
            "one bit changed": lambda s: s[:-1] + bytes([s[-1] ^ 1]),
            "zeros": lambda s: bytes(len(s)),
        }.items()
    },
    "RS256: the modulus added": with_modulus_added(),
    "ES256: in DER": by_hand({"alg": "ES256", "kid": "ec"}, lambda m: EC.sign(m, ec.ECDSA(SHA256))),
    "ES256: r zero": signed_again(good["ES256"], lambda s: bytes(32) + s[32:]),
    "ES256: s zero": signed_again(good["ES256"], lambda s: s[:32] + bytes(32)),
    "ES256: r and s the order": signed_again(good["ES256"], lambda s: P256_ORDER.to_bytes(32, "big") * 2),
    "ES256: r one, s one": signed_again(good["ES256"], lambda s: (1).to_bytes(32, "big") * 2),
    "ES256: r and s exchanged": signed_again(good["ES256"], lambda s: s[32:] + s[:32]),
    # RFC 8032 §5.1.7: s is less than the order.
    "EdDSA: the order added": signed_again(
        good["EdDSA"], lambda s: s[:32] + (int.from_bytes(s[32:], "little") + ED25519_ORDER).to_bytes(32, "little")
    ),
    "EdDSA: a point of small order": signed_again(good["EdDSA"], lambda s: (1).to_bytes(32, "little") + bytes(32)),
}

groups = [no_signature, by_a_public_key, other_algorithms, other_keys]
groups += [wrong_headers, wrong_claims, forms, wrong_signatures]
bad = {name: token for group in groups for name, token in group.items()}
assert len(bad) == sum(map(len, groups)), "two tokens have one name"
for token in good.values():
    # PyJWT itself takes them, so that they are good by more than our own word.
    key = jwt.PyJWKSet.from_dict({"keys": keys})[jwt.get_unverified_header(token).get("kid", "ec")]
    expected = {"audience": wanted["audience"], "issuer": wanted["issuer"], "leeway": 300}
    jwt.decode(token, key, algorithms=[key.algorithm_name], **expected)
print(json.dumps({"jwks": {"keys": others + keys}, "good": good, "bad": bad}))
