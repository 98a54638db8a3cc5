"""What other systems call the values and fields of a manifest: suggestions by meaning, before those by spelling."""

from __future__ import annotations

import re
from typing import Final

_SPECS: Final = {
    "SYMMETRIC_DEFAULT": "aes aes256 aesgcm aes256gcm aes256cbc symmetric symmetric256 gcm a256gcm",
    "HMAC_224": "hmacsha224 sha224 hmacsha2224 hs224",
    "HMAC_256": "hmacsha256 sha256 hmacsha2256 hs256 hmac",
    "HMAC_384": "hmacsha384 sha384 hmacsha2384 hs384",
    "HMAC_512": "hmacsha512 sha512 hmacsha2512 hs512",
    "RSA_2048": "rsa rsa2k rsa2048bit rs256 ps256",
    "RSA_3072": "rsa3k rsa3072bit rs384",
    "RSA_4096": "rsa4k rsa4096bit rs512",
    "ECC_NIST_P256": "p256 secp256r1 prime256v1 nistp256 eccp256 ecp256 ecdsap256 es256 ansip256r1 ec256 "
    "ecdsasha2nistp256 ecc256 ec ecdsa",
    "ECC_NIST_P384": "p384 secp384r1 nistp384 eccp384 ecp384 ecdsap384 es384 ansip384r1 ec384 ecdsasha2nistp384 ecc384",
    "ECC_NIST_P521": "p521 secp521r1 nistp521 eccp521 ecp521 ecdsap521 es512 ansip521r1 ec521 ecdsasha2nistp521 ecc521",
    "ECC_SECG_P256K1": "secp256k1 p256k1 es256k k256 ansip256k1 bitcoin ethereum eccsecp256k1",
    "ECC_NIST_EDWARDS25519": "ed25519 eddsa edwards25519 sshed25519 curve25519 eccnisted25519 ecced25519",
}
_WRAPPING: Final = {
    "RSAES_OAEP_SHA_256": "oaep oaepsha256 rsaoaep256 rsaoaepsha256 rsaesoaep rsaesoaepsha256 ckmrsapkcsoaep "
    "rsaesoaepsha2256",
    "RSAES_OAEP_SHA_1": "oaepsha1 rsaoaep rsaoaepsha1 rsaesoaepsha1",
    "RSA_AES_KEY_WRAP_SHA_256": "rsaaeskeywrap rsaaeskeywrapsha256 ckmrsaaeskeywrap rsaaeskwp aeskwp rsaaes",
    "RSA_AES_KEY_WRAP_SHA_1": "rsaaeskeywrapsha1",
}
_WRAPPING_KEYS: Final = {
    "RSA_2048": "2048 rsa2k rsa2048bit",
    "RSA_3072": "3072 rsa3k rsa3072bit",
    "RSA_4096": "4096 rsa rsa4k rsa4096bit",
}
_ENCODINGS: Final = {
    "raw": "binary bin bytes utf8 text ascii plain plaintext none string latin1 der pkcs8 pkcs8der",
    "base64": "b64 base64url base64std base64standard urlsafe base64urlsafe",
    "hex": "hexadecimal base16 hexstring",
    "pem": "pkcs8pem x509 openssl pkcs1 sec1",
}
_REGIONS: Final = {
    "us-east-1": "virginia nvirginia", "us-east-2": "ohio", "us-west-1": "california ncalifornia",
    "us-west-2": "oregon", "ca-central-1": "montreal canadacentral", "ca-west-1": "calgary",
    "eu-central-1": "frankfurt",
    "eu-central-2": "zurich", "eu-west-1": "ireland dublin", "eu-west-2": "london", "eu-west-3": "paris",
    "eu-north-1": "stockholm", "eu-south-1": "milan", "eu-south-2": "spain", "ap-northeast-1": "tokyo",
    "ap-northeast-2": "seoul", "ap-northeast-3": "osaka", "ap-southeast-1": "singapore", "ap-southeast-2": "sydney",
    "ap-southeast-3": "jakarta", "ap-southeast-4": "melbourne", "ap-south-1": "mumbai", "ap-south-2": "hyderabad",
    "ap-east-1": "hongkong", "sa-east-1": "saopaulo", "me-south-1": "bahrain", "me-central-1": "uae dubai",
    "il-central-1": "telaviv", "af-south-1": "capetown", "cn-north-1": "beijing", "cn-northwest-1": "ningxia",
    "mx-central-1": "mexico",
}  # fmt: skip
_EXPIRY: Final = {"never": "none no infinite permanent keymaterialdoesnotexpire doesnotexpire forever unlimited 0"}
_FIELDS: Final = {
    "id": "name title label kid",
    "account": "accountid awsaccount awsaccountid accountnumber targetaccount",
    "region": "awsregion location targetregion regionname",
    "key_id": "keyid key arn keyarn kmskey kmskeyid kmskeyarn alias aliasname keyalias cmk kmsarn",
    "key_spec": "spec keytype type algorithm customermasterkeyspec keyalgorithm keyspec alg",
    "material": "keymaterial source path file filename secret uri materialuri keyfile url",
    "encrypted_key_material": "encryptedkeymaterial sealed sealedmaterial wrappedkey wrappedmaterial ciphertext",
    "import_token": "importtoken token",
    "encoding": "format materialencoding enc",
    "expect": "checkvalue kcv keycheckvalue spkisha256 fingerprint",
    "key_material_id": "materialid keymaterialid",
    "valid_to": "expires expiry expiration validto notafter expirydate expirationdate expiresat validuntil",
    "valid_for": "ttl lifetime validity validfor duration maxage",
    "renew_before": "renew renewal renewbefore renewafter",
    "wrapping_algorithm": "wrapalgorithm wrappingalg wrapping wrappingalgorithm",
    "wrapping_key_spec": "wrappingkey wrappingkeyspec wrappingkeytype",
    "role": "rolearn rolename assumerole iamrole assumerolearn",
    "external_id": "externalid",
    "session_duration": "durationseconds sessionduration maxsession",
    "defaults": "default common shared globals",
    "accounts": "accountids awsaccounts",
    "regions": "awsregions locations",
    "replicas": "replicaregions replicakeys replicaregion replicate",
    "keys": "key targets entries items kmskeys",
    "version": "schemaversion apiversion manifestversion",
}
_BY_FIELD: Final = {
    "key_spec": _SPECS,
    "wrapping_algorithm": _WRAPPING,
    "wrapping_key_spec": _WRAPPING_KEYS,
    "encoding": _ENCODINGS,
    "region": _REGIONS,
    "valid_to": _EXPIRY,
    "": _FIELDS,
}
_MEANT: Final = {
    field: {word: name for name, words in table.items() for word in words.split()} for field, table in _BY_FIELD.items()
}
_DIRECTIONS: Final = {
    "n": "north", "s": "south", "e": "east", "w": "west", "c": "central", "ne": "northeast", "nw": "northwest",
    "se": "southeast", "sw": "southwest",
}  # fmt: skip
_SHORT_REGION: Final = re.compile(
    rf"(us|eu|ap|sa|ca|me|af|il|mx|cn)({'|'.join((*_DIRECTIONS.values(), *_DIRECTIONS))})([1-9])"
)


def folded(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def meant(field: str, text: str) -> str:
    """The name in a manifest of what `text` means in another system; empty if nothing is known. `field` "": a field."""
    word = folded(text)
    found = _MEANT.get(field, {}).get(word, "")
    if found or field != "region":
        return found
    if short := _SHORT_REGION.fullmatch(word):
        return f"{short[1]}-{_DIRECTIONS.get(short[2], short[2])}-{short[3]}"
    return next((region for name, region in _MEANT["region"].items() if name in word), "")
