// Makes keys and tokens with a library that is not ours. Reads {subject, issuer, audience} as JSON from the first argument, and
// prints {jwks, good, bad}: a JWK Set, tokens that are good with it by what they are, and tokens that are not.
import * as jose from "jose";

const { subject, issuer, audience } = JSON.parse(process.argv[2]);
const pairs = {};
for (const [kid, algorithm, options] of [
  ["rsa", "RS256", { modulusLength: 2048 }],
  ["ec", "ES256", {}],
  ["ed", "EdDSA", { crv: "Ed25519" }],
]) {
  const pair = await jose.generateKeyPair(algorithm, { extractable: true, ...options });
  pairs[kid] = { ...pair, algorithm, jwk: { ...(await jose.exportJWK(pair.publicKey)), kid, alg: algorithm, use: "sig" } };
}
const { rsa, ec, ed } = pairs;

function token(key, header, { expires = "10m", ...claims } = {}) {
  return new jose.SignJWT(claims)
    .setProtectedHeader(header)
    .setSubject(subject)
    .setIssuer(claims.iss ?? issuer)
    .setAudience(claims.aud ?? audience)
    .setIssuedAt()
    .setExpirationTime(expires)
    .sign(key);
}

const good = {
  "RS256": await token(rsa.privateKey, { alg: "RS256", kid: "rsa" }),
  "ES256": await token(ec.privateKey, { alg: "ES256", kid: "ec" }),
  "EdDSA": await token(ed.privateKey, { alg: "EdDSA", kid: "ed" }),
  // The same key and signature, by its name of RFC 9864.
  "Ed25519": await token(ed.privateKey, { alg: "Ed25519", kid: "ed" }),
  "no kid": await token(ec.privateKey, { alg: "ES256" }),
};

const attacker = await jose.generateKeyPair("RS256", { modulusLength: 2048, extractable: true });
const text = new TextEncoder();
const wider = await jose.importJWK(await jose.exportJWK(rsa.privateKey), "RS512");
const pss = await jose.importJWK(await jose.exportJWK(rsa.privateKey), "PS256");
const unsigned = new jose.UnsecuredJWT({ iss: issuer, aud: audience }).setSubject(subject).setExpirationTime("10m").encode();
const bad = {
  "none": unsigned,
  "none with a kid": `${jose.base64url.encode(JSON.stringify({ alg: "none", kid: "rsa" }))}.${unsigned.split(".")[1]}.`,
  "HS256 by the public key's PEM": await token(text.encode(await jose.exportSPKI(rsa.publicKey)), { alg: "HS256", kid: "rsa" }),
  "HS256 by the public key's modulus": await token(jose.base64url.decode(rsa.jwk.n), { alg: "HS256" }),
  "HS256 by the public key's JSON": await token(text.encode(JSON.stringify(rsa.jwk)), { alg: "HS256", kid: "rsa" }),
  "RS512 with the right key": await token(wider, { alg: "RS512", kid: "rsa" }),
  "PS256 with the right key": await token(pss, { alg: "PS256", kid: "rsa" }),
  "another's key": await token(attacker.privateKey, { alg: "RS256", kid: "rsa" }),
  "another's key, which it brings along": await token(attacker.privateKey, { alg: "RS256", jwk: await jose.exportJWK(attacker.publicKey) }),
  "another's key, to be fetched": await token(attacker.privateKey, { alg: "RS256", jku: "http://127.0.0.1:1/keys.json" }),
  "the kid of another key": await token(rsa.privateKey, { alg: "RS256", kid: "ec" }),
  "an unknown kid": await token(rsa.privateKey, { alg: "RS256", kid: "rsa2" }),
  "a path as kid": await token(rsa.privateKey, { alg: "RS256", kid: "../../dev/null" }),
  "SQL as kid": await token(rsa.privateKey, { alg: "RS256", kid: "x' union select 'secret" }),
  "expired": await token(rsa.privateKey, { alg: "RS256", kid: "rsa" }, { expires: "-1s" }),
  "of another issuer": await token(rsa.privateKey, { alg: "RS256", kid: "rsa" }, { iss: "https://elsewhere.example" }),
  "for another audience": await token(rsa.privateKey, { alg: "RS256", kid: "rsa" }, { aud: "others" }),
  "a signature of zeros": good.ES256.replace(/[^.]*$/, jose.base64url.encode(new Uint8Array(64))),
  "a signature that was cut": good.RS256.slice(0, -8),
};

const forOthers = { kty: "EC", crv: "P-384", x: "AA", y: "AA", kid: "for others" };
console.log(JSON.stringify({ jwks: { keys: [forOthers, rsa.jwk, ec.jwk, ed.jwk] }, good, bad }));
