"""What is never copied, because it is a secret: by its name, or by how its content begins."""

from __future__ import annotations

import re

_NAMES = re.compile(
    r"""
    \.env | \.env\.(?!example$|sample$|template$|dist$|defaults?$).+ | .+\.env
    | id_(?:rsa|dsa|ecdsa|ed25519|xmss)(?:_sk)? | .+\.(?:pem|key|p12|pfx|p8|ppk|jks|keystore|kdbx)
    | \.?credentials(?:\.(?:json|ya?ml|toml|ini|csv|db))? | client_secret.*\.json
    | service[-_]account.*\.json | application_default_credentials\.json
    | \.?secrets?(?:\.(?:json|ya?ml|toml|ini|env))?
    | \.netrc | _netrc | \.pgpass | \.my\.cnf | \.npmrc | \.yarnrc\.yml | \.pypirc | \.git-credentials
    | \.htpasswd | \.dockercfg | \.vault-token | \.s3cfg | \.boto | \.terraformrc | terraform\.tfstate.*
    | kubeconfig | \.gem-credentials | \.token | \.?auth\.json
    """,
    re.VERBOSE | re.IGNORECASE,
)
_FOLDERS = frozenset(
    (
        ".ssh",
        ".gnupg",
        ".aws",
        ".azure",
        ".kube",
        ".docker",
        ".password-store",
        "gcloud",
        ".secrets",
    )
)
_BEGINS = re.compile(rb"(?:\xef\xbb\xbf)?\s*-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_AGE = b"AGE-SECRET-KEY-1"
HEAD = 1024
"""Bytes of a file that `by_content` wants to see."""


def by_name(name: str) -> bool:
    """Of a file."""
    return _NAMES.fullmatch(name) is not None


def folder(name: str) -> bool:
    return name in _FOLDERS


def by_content(head: bytes) -> bool:
    return _AGE in head or _BEGINS.match(head) is not None
