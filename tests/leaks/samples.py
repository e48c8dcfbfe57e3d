"""Made-up credentials in the form their issuers describe, written without a look at the rules."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable
from urllib.parse import quote

UPPER, LOWER, DIGITS = string.ascii_uppercase, string.ascii_lowercase, string.digits
ALNUM = string.ascii_letters + DIGITS
URLSAFE = ALNUM + "-_"
HEX = "0123456789abcdef"
BASE32 = UPPER + "234567"
BASE64 = ALNUM + "+/"

Make = Callable[[random.Random], str]


def _of(alphabet: str, size: int) -> Make:
    def make(dice: random.Random) -> str:
        # Ends in a letter or digit, as almost all do: a sign at the end is not part of the token.
        body = "".join(dice.choices(alphabet, k=size - 1))
        return body + dice.choice([c for c in alphabet if c.isalnum()])

    return make


def _join(*parts: str | Make) -> Make:
    return lambda dice: "".join(p if isinstance(p, str) else p(dice) for p in parts)


def _jwt(dice: random.Random) -> str:
    def part(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims: dict[str, object] = {"sub": str(dice.random()), "exp": dice.randrange(10**9)}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{_of(URLSAFE, 43)(dice)}"


def _private_key(kind: str) -> Make:
    def make(dice: random.Random) -> str:
        body = "".join(dice.choices(BASE64, k=640))
        lines = "\n".join(body[n : n + 64] for n in range(0, len(body), 64))
        return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n"

    return make


def _encrypted(kind: str, cipher: str, salt: int) -> Make:
    """As `openssl` wrote keys with a passphrase, and still does with `-traditional`."""

    def make(dice: random.Random) -> str:
        plain = _private_key(kind)(dice)
        head, body = plain.split("\n", 1)
        how = f"Proc-Type: 4,ENCRYPTED\nDEK-Info: {cipher},{dice.randbytes(salt).hex().upper()}\n"
        return f"{head}\n{how}\n{body}"

    return make


def _openssh(kind: str, public: int, private: int) -> Make:
    """As ssh-keygen writes them: lengths in four bytes, so that there are rows of `A` in it."""

    def text(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    def make(dice: random.Random) -> str:
        check = dice.randbytes(4)
        known = text(kind.encode()) + text(dice.randbytes(public))
        secret = check + check + known + text(dice.randbytes(private)) + text(b"ann@desk")
        body = base64.b64encode(
            b"openssh-key-v1\0" + text(b"none") + text(b"none") + text(b"")
            + (1).to_bytes(4, "big") + text(known) + text(secret + b"\1\2\3")
        ).decode()  # fmt: skip
        lines = "\n".join(body[n : n + 70] for n in range(0, len(body), 70))
        head, end = "-----BEGIN OPENSSH PRIVATE", "-----END OPENSSH PRIVATE"
        return f"{head} KEY-----\n{lines}\n{end} KEY-----\n"

    return make


SAMPLES: dict[str, tuple[Make, ...]] = {
    "aws-access-key": (_join("AKIA", _of(BASE32, 16)), _join("ASIA", _of(BASE32, 16))),
    "aws-secret-key": (
        _join("aws_secret_access_key = ", _of(BASE64, 40)),
        _join("AWS_SECRET_ACCESS_KEY=", _of(BASE64, 40)),
    ),
    "google-api-key": (_join("AIza", _of(URLSAFE, 35)),),
    "google-client-secret": (_join("GOCSPX-", _of(URLSAFE, 28)),),
    "google-token": (_join("ya29.a0", _of(URLSAFE, 160)),),
    "google-refresh-token": (_join("1//0", _of(URLSAFE, 60)),),
    "azure-storage-key": (_join("AccountKey=", _of(BASE64, 86), "=="),),
    "azure-client-secret": (_join(_of(ALNUM, 3), "8Q~", _of(ALNUM + "_~.-", 34)),),
    "alibaba-key": (_join("LTAI5t", _of(ALNUM, 18)),),
    "digitalocean-token": (_join("dop_v1_", _of(HEX, 64)),),
    "databricks-token": (_join("dapi", _of(HEX, 32)),),
    "heroku-key": (_join("HRKU-AA", _of(URLSAFE, 58)),),
    "supabase-token": (_join("sbp_", _of(HEX, 40)),),
    "planetscale-token": (_join("pscale_tkn_", _of(ALNUM + "_-", 43)),),
    "tailscale-key": (_join("tskey-auth-", _of(ALNUM, 12), "CNTRL-", _of(ALNUM, 32)),),
    "anthropic-key": (_join("sk-ant-api03-", _of(URLSAFE, 93), "AA"),),
    "openai-key": (
        _join("sk-proj-", _of(URLSAFE, 74), "T3BlbkFJ", _of(URLSAFE, 74)),
        _join("sk-", _of(ALNUM, 20), "T3BlbkFJ", _of(ALNUM, 20)),
    ),
    "openrouter-key": (_join("sk-or-v1-", _of(HEX, 64)),),
    "groq-key": (_join("gsk_", _of(ALNUM, 52)),),
    "xai-key": (_join("xai-", _of(ALNUM, 80)),),
    "huggingface-token": (_join("hf_", _of(string.ascii_letters, 34)),),
    "replicate-token": (_join("r8_", _of(ALNUM, 37)),),
    "perplexity-key": (_join("pplx-", _of(ALNUM, 48)),),
    "tavily-key": (_join("tvly-dev-", _of(ALNUM, 32)), _join("tvly-", _of(ALNUM, 32))),
    "github-token": (
        _join("ghp_", _of(ALNUM, 36)),
        _join("gho_", _of(ALNUM, 36)),
        _join("ghs_", _of(ALNUM, 36)),
        _join("github_pat_", _of(ALNUM, 22), "_", _of(ALNUM, 59)),
    ),
    "gitlab-token": (_join("glpat-", _of(URLSAFE, 20)),),
    "npm-token": (_join("npm_", _of(ALNUM, 36)),),
    "pypi-token": (_join("pypi-AgEIcHlwaS5vcmc", _of(URLSAFE, 150)),),
    "rubygems-key": (_join("rubygems_", _of(HEX, 48)),),
    "crates-token": (_join("cio", _of(ALNUM, 32)),),
    "docker-token": (_join("dckr_pat_", _of(URLSAFE, 27)),),
    "terraform-token": (_join(_of(ALNUM, 14), ".atlasv1.", _of(ALNUM, 67)),),
    "pulumi-token": (_join("pul-", _of(HEX, 40)),),
    "postman-key": (_join("PMAK-", _of(HEX, 24), "-", _of(HEX, 34)),),
    "sentry-token": (_join("sntryu_", _of(HEX, 64)),),
    "grafana-token": (_join("glsa_", _of(ALNUM, 32), "_", _of(HEX, 8)),),
    "newrelic-key": (_join("NRAK-", _of(UPPER + DIGITS, 27)),),
    "doppler-token": (_join("dp.pt.", _of(ALNUM, 43)),),
    "slack-token": (
        _join("xoxb-", _of(DIGITS, 12), "-", _of(DIGITS, 13), "-", _of(ALNUM, 24)),
        _join("xapp-1-A", _of(UPPER + DIGITS, 10), "-", _of(DIGITS, 13), "-", _of(HEX, 64)),
    ),
    "slack-webhook": (
        _join(
            "https://hooks.slack.com/services/T", _of(UPPER + DIGITS, 10),
            "/B", _of(UPPER + DIGITS, 10), "/", _of(ALNUM, 24),
        ),
    ),
    "discord-token": (
        _join("M", _of(ALNUM, 25), ".G", _of(ALNUM, 5), ".", _of(URLSAFE, 38)),
    ),
    "discord-webhook": (
        _join("https://discord.com/api/webhooks/1", _of(DIGITS, 18), "/", _of(URLSAFE, 68)),
    ),
    "telegram-token": (_join("7", _of(DIGITS, 9), ":AA", _of(URLSAFE, 33)),),
    "sendgrid-key": (_join("SG.", _of(URLSAFE, 22), ".", _of(URLSAFE, 43)),),
    "mailgun-key": (_join("key-", _of(HEX, 32)),),
    "mailchimp-key": (_join(_of(HEX, 32), "-us21"),),
    "stripe-key": (_join("sk_live_", _of(ALNUM, 99)), _join("rk_test_", _of(ALNUM, 24))),
    "stripe-webhook": (_join("whsec_", _of(ALNUM, 32)),),
    "square-token": (_join("EAAA", _of(URLSAFE, 60)),),
    "shopify-token": (_join("shpat_", _of(HEX, 32)),),
    "notion-token": (_join("ntn_", _of(ALNUM, 46)), _join("secret_", _of(ALNUM, 43))),
    "linear-key": (_join("lin_api_", _of(ALNUM, 40)),),
    "figma-token": (_join("figd_", _of(URLSAFE, 43)),),
    "airtable-token": (_join("pat", _of(ALNUM, 14), ".", _of(HEX, 64)),),
    "atlassian-token": (_join("ATATT3xFfGF0", _of(URLSAFE, 171), "=", _of(UPPER + DIGITS, 8)),),
    "dropbox-token": (_join("sl.B", _of(URLSAFE, 140)),),
    "vault-token": (_join("hvs.CAES", _of(URLSAFE, 90)),),
    "onepassword-token": (_join("ops_eyJ", _of(URLSAFE, 400)),),
    "perdure-token": (_join("pdr_", _of(HEX, 12), "_", _of(URLSAFE, 43)),),
    "private-key": (
        _private_key("RSA "), _private_key(""), _private_key("OPENSSH "), _private_key("EC "),
        _openssh("ssh-ed25519", 32, 64), _openssh("ssh-rsa", 259, 1_100),
        _encrypted("RSA ", "AES-128-CBC", 16), _encrypted("EC ", "DES-EDE3-CBC", 8),
        _private_key("ENCRYPTED "),
    ),
    "age-identity": (_join("AGE-SECRET-KEY-1", _of("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)),),
    "jwt": (_jwt,),
    "url-password": (
        _join("postgres://app:", _of(ALNUM, 20), "@db.internal:5432/app"),
        _join("https://deploy:", _of(ALNUM, 24), "@git.company.net/repo.git"),
    ),
}  # fmt: skip

DRESSES: dict[str, Callable[[str], str]] = {
    "alone": lambda s: s,
    "variable": lambda s: f"export KEY={s}\n",
    "yaml": lambda s: f"token: {s}\nnext: 1\n",
    "sentence": lambda s: f'Use the key "{s}", please.',
    "json": lambda s: json.dumps({"note": f"the key is {s}", "n": 1}),
    "header": lambda s: f"Authorization: Bearer {s}\r\nAccept: */*\r\n",
    "query": lambda s: f"https://collect.test/x?d={quote(s, safe='')}&n=1",
    "base64": lambda s: base64.b64encode(f"the key: {s} .".encode()).decode(),
    "base64 in an address": lambda s: (
        "https://collect.test/p/" + base64.urlsafe_b64encode(f"k={s}".encode()).decode()
    ),
    "hex": lambda s: "data=" + f"key {s} end".encode().hex(),
    "all percent": lambda s: "".join(f"%{b:02X}" for b in s.encode()),
}
