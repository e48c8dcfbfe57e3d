"""What is a secret by its name, its place, or by how its content begins: one table for the sandbox, which
hides it, for labels, which call it secret, and for checkpoints, which do not copy it."""

from __future__ import annotations

import re

CREDENTIALS = (
    ".ssh",
    ".aws",
    ".azure",
    ".gnupg",
    ".kube",
    ".docker",
    ".netrc",
    ".authinfo",
    ".authinfo.gpg",
    ".git-credentials",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".s3cfg",
    ".boto",
    ".vault-token",
    ".terraform.d",
    ".password-store",
    ".m2/settings.xml",
    ".m2/settings-security.xml",
    ".gradle/gradle.properties",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".config/perdure",
    ".config/gcloud",
    ".config/gh",
    ".config/hub",
    ".config/glab-cli",
    ".config/git/credentials",
    ".config/op",
    ".config/rclone",
    ".config/doctl",
    ".config/hcloud",
    ".config/sops",
    ".config/age",
    ".config/containers/auth.json",
    ".config/google-chrome",
    ".config/chromium",
    ".config/BraveSoftware",
    ".config/microsoft-edge",
    ".config/vivaldi",
    ".config/Signal",
    ".config/Slack",
    ".config/discord",
    ".config/1Password",
    ".config/Bitwarden",
    ".config/keepassxc",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".local/share/pki",
    ".pki",
    ".mozilla",
    ".thunderbird",
    ".var/app",
    "snap",
    ".bash_history",
    ".zsh_history",
    ".python_history",
    ".psql_history",
    ".mysql_history",
    ".claude",
    ".claude.json",
    ".codex",
    ".gemini",
    "Library/Keychains",
    "Library/Cookies",
    "Library/Safari",
    "Library/Application Support/Google/Chrome",
    "Library/Application Support/Firefox",
)
"""Below the home folder."""

SYSTEM = (
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/security/opasswd",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssl/private",
    "/etc/krb5.keytab",
    "/etc/NetworkManager/system-connections",
    "/etc/wireguard",
    "/etc/openvpn",
    "/etc/letsencrypt",
    "/etc/docker",
    "/etc/kubernetes",
    "/etc/rancher",
)

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


def of_owner(path: str) -> bool:
    """Of a path below the home folder: is it one of `CREDENTIALS`, or in one?"""
    parts = path.split("/", _DEEPEST)
    return any("/".join(parts[:count]) in _CREDENTIALS for count in range(1, len(parts) + 1))


_CREDENTIALS = frozenset(CREDENTIALS)
_DEEPEST = max(name.count("/") for name in CREDENTIALS) + 1
