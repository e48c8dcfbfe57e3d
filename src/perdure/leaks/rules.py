"""What common credentials look like: prefix, alphabet and length, as their issuers publish them.

Only formats that say by themselves what they are. "Some long random text after the word key" is no
format: it would be found in every lock file. What looks like a placeholder does not count.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import log2
from typing import Any

import re2  # type: ignore[import-untyped]

LEAST_BITS = 2.8
"""Shannon entropy for each character of the secret part; random hex has more than 3 from 20 on."""

B62, B64U, HEX = "[A-Za-z0-9]", "[A-Za-z0-9_-]", "[0-9a-f]"

_PEM_HEADER = r"[A-Z][A-Za-z]+(?:-[A-Za-z]+)?: ?[^\r\n\\\"]+"
"""As in `Proc-Type: 4,ENCRYPTED`, above the key itself."""


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    title: str
    """For a sentence: "it holds …"."""
    pattern: str
    mixed: bool = False
    """Words with hyphens would fit too: it must have digits, and letters of both cases."""
    part: str = ""
    """What stands before the secret part, to be left out when its randomness is judged."""


RULES = (
    # Clouds
    Rule("aws-access-key", "an AWS access key id", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    Rule(
        "aws-secret-key",
        "an AWS secret key",
        r"(?i:aws_?secret_?(?:access_?)?key)[\"'\s:=>]{1,8}(?:[A-Za-z0-9/+]|\\/){40}\b",
        mixed=True,
    ),
    Rule("google-api-key", "a Google API key", rf"\bAIza{B64U}{{35}}\b"),
    Rule("google-client-secret", "a Google OAuth secret", rf"\bGOCSPX-{B64U}{{28}}\b"),
    Rule("google-token", "a Google access token", rf"\bya29\.{B64U}{{30,}}", mixed=True),
    Rule(
        "google-refresh-token", "a Google refresh token", rf"\b1\\?/\\?/0{B64U}{{40,}}", mixed=True
    ),
    Rule("azure-storage-key", "an Azure storage key", r"AccountKey=[A-Za-z0-9+/]{86}=="),
    Rule(
        "azure-client-secret",
        "an Azure client secret",
        r"\b[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}\b",
        mixed=True,
    ),
    Rule("alibaba-key", "an Alibaba access key", r"\bLTAI[A-Za-z0-9]{20}\b", mixed=True),
    Rule("digitalocean-token", "a DigitalOcean token", rf"\bdo[opr]_v1_{HEX}{{64}}\b"),
    Rule("databricks-token", "a Databricks token", rf"\bdapi{HEX}{{32}}\b"),
    Rule("heroku-key", "a Heroku key", rf"\bHRKU-{B64U}{{36,60}}\b", mixed=True),
    Rule("supabase-token", "a Supabase token", rf"\bsbp_{HEX}{{40}}\b"),
    Rule(
        "planetscale-token",
        "a PlanetScale credential",
        r"\bpscale_(?:tkn|pw|oauth)_[A-Za-z0-9._-]{32,64}\b",
    ),
    Rule(
        "tailscale-key",
        "a Tailscale key",
        r"\btskey-(?:auth|api|client|scim|webhook)-[A-Za-z0-9]{8,20}-[A-Za-z0-9]{16,40}\b",
    ),
    # Models
    Rule(
        "anthropic-key",
        "an Anthropic key",
        rf"\bsk-ant-(?:api|admin|oat|ort|sid)[0-9]{{2}}-{B64U}{{80,120}}",
    ),
    Rule(
        "openai-key",
        "an OpenAI key",
        rf"\bsk-(?:(?:proj|svcacct|admin)-{B64U}{{40,200}}|{B62}{{20}}T3BlbkFJ{B62}{{20}})\b",
        mixed=True,
    ),
    Rule("openrouter-key", "an OpenRouter key", rf"\bsk-or-v1-{HEX}{{64}}\b"),
    Rule("groq-key", "a Groq key", rf"\bgsk_{B62}{{52}}\b"),
    Rule("xai-key", "an xAI key", rf"\bxai-{B62}{{70,90}}\b"),
    Rule("huggingface-token", "a Hugging Face token", rf"\bhf_{B62}{{34,40}}\b"),
    Rule("replicate-token", "a Replicate token", rf"\br8_{B62}{{37}}\b"),
    Rule("perplexity-key", "a Perplexity key", rf"\bpplx-{B62}{{48}}\b"),
    Rule("tavily-key", "a Tavily key", rf"\btvly-(?:dev-|prod-)?{B62}{{32}}\b"),
    # Code
    Rule("github-token", "a GitHub token", rf"\bgh[pousr]_{B62}{{36,251}}\b"),
    Rule("github-token", "a GitHub token", rf"\bgithub_pat_{B62}{{22}}_{B62}{{59}}\b"),
    Rule(
        "gitlab-token",
        "a GitLab token",
        rf"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat)-{B64U}{{20,64}}",
        mixed=True,
    ),
    Rule("npm-token", "an npm token", rf"\bnpm_{B62}{{36}}\b"),
    Rule("pypi-token", "a PyPI token", rf"\bpypi-AgE{B64U}{{50,}}"),
    Rule("rubygems-key", "a RubyGems key", rf"\brubygems_{HEX}{{48}}\b"),
    Rule("crates-token", "a crates.io token", rf"\bcio{B62}{{32}}\b", mixed=True),
    Rule("docker-token", "a Docker token", rf"\bdckr_(?:pat|oat)_{B64U}{{27,32}}"),
    Rule("terraform-token", "a Terraform token", rf"\b{B62}{{14}}\.atlasv1\.{B64U}{{60,70}}"),
    Rule("pulumi-token", "a Pulumi token", rf"\bpul-{HEX}{{40}}\b"),
    Rule("postman-key", "a Postman key", rf"\bPMAK-{HEX}{{24}}-{HEX}{{34}}\b"),
    Rule("sentry-token", "a Sentry token", rf"\bsntry(?:u_{HEX}{{64}}|s_eyJ{B64U}{{80,}})"),
    Rule("grafana-token", "a Grafana token", rf"\bglsa_{B62}{{32}}_[0-9A-Fa-f]{{8}}\b"),
    Rule("newrelic-key", "a New Relic key", r"\bNRAK-[A-Z0-9]{27}\b"),
    Rule(
        "doppler-token", "a Doppler token", rf"\bdp\.(?:pt|st|ct|sa|scim|audit)\.{B62}{{40,44}}\b"
    ),
    # Chats and mail
    Rule("slack-token", "a Slack token", r"\bxox[abeoprs]-[0-9]{8,14}-[A-Za-z0-9-]{16,}"),
    Rule(
        "slack-token",
        "a Slack token",
        rf"\bxapp-[0-9]-[A-Z0-9]{{8,14}}-[0-9]{{8,16}}-{HEX}{{40,}}\b",
    ),
    Rule(
        "slack-webhook",
        "a Slack webhook",
        rf"hooks\.slack\.com\\?/services\\?/T[A-Z0-9]{{8,12}}\\?/B[A-Z0-9]{{8,12}}\\?/{B62}{{20,32}}\b",
    ),
    Rule(
        "discord-token",
        "a Discord bot token",
        rf"\b[MNO]{B64U}{{23,27}}\.{B64U}{{6}}\.{B64U}{{27,40}}",
        mixed=True,
    ),
    Rule(
        "discord-webhook",
        "a Discord webhook",
        rf"discord(?:app)?\.com\\?/api\\?/webhooks\\?/[0-9]{{17,20}}\\?/{B64U}{{60,80}}",
    ),
    Rule("telegram-token", "a Telegram bot token", rf"\b[0-9]{{8,10}}:AA{B64U}{{33}}"),
    Rule("telegram-token", "a Telegram bot token", rf"/bot[0-9]{{8,10}}:AA{B64U}{{33}}"),
    Rule("sendgrid-key", "a SendGrid key", rf"\bSG\.{B64U}{{22}}\.{B64U}{{43}}"),
    Rule("mailgun-key", "a Mailgun key", rf"\bkey-{HEX}{{32}}\b"),
    Rule("mailchimp-key", "a Mailchimp key", rf"\b{HEX}{{32}}-us[0-9]{{1,2}}\b"),
    # Money
    Rule("stripe-key", "a Stripe key", rf"\b(?:sk|rk)_(?:live|test)_{B62}{{24,250}}\b"),
    Rule("stripe-webhook", "a Stripe webhook secret", r"\bwhsec_[A-Za-z0-9+/]{32,64}"),
    Rule(
        "square-token", "a Square token", rf"\b(?:EAAA{B64U}{{60}}|sq0(?:atp|csp)-{B64U}{{22,43}})"
    ),
    Rule("shopify-token", "a Shopify token", r"\bshp(?:at|ca|pa|ss)_[0-9A-Fa-f]{32}\b"),
    # Work
    Rule("notion-token", "a Notion token", rf"\b(?:ntn_{B62}{{46}}|secret_{B62}{{43}})\b"),
    Rule("linear-key", "a Linear key", rf"\blin_(?:api|oauth)_{B62}{{40,64}}\b"),
    Rule("figma-token", "a Figma token", rf"\bfig[dor]_{B64U}{{40,60}}", mixed=True),
    Rule("airtable-token", "an Airtable token", rf"\bpat{B62}{{14}}\.{HEX}{{64}}\b"),
    Rule("atlassian-token", "an Atlassian token", r"\bATATT3[A-Za-z0-9_=-]{150,250}"),
    Rule("dropbox-token", "a Dropbox token", rf"\bsl\.{B64U}{{130,}}", mixed=True),
    Rule("vault-token", "a HashiCorp Vault token", rf"\bhv[sbr]\.{B64U}{{24,200}}", mixed=True),
    Rule("onepassword-token", "a 1Password token", rf"\bops_eyJ{B64U}{{200,}}"),
    Rule("perdure-token", "a Perdure token", rf"\bpdr_{HEX}{{12}}_{B64U}{{43}}"),
    # Keys as such
    Rule(
        "private-key",
        "a private key",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\\rn\"]*"
        rf"(?:{_PEM_HEADER}[\s\\rn\",]+){{0,8}}[A-Za-z0-9+/:][^-]{{40}}[^-]*",
    ),
    Rule(
        "age-identity",
        "an age identity",
        r"\bAGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}\b",
    ),
    Rule(
        "jwt",
        "a signed token (JWT)",
        rf"\beyJ{B64U}{{10,}}\.eyJ{B64U}{{10,}}\.{B64U}{{20,}}",
        mixed=True,
    ),
    Rule(
        "url-password",
        "a password in an address",
        r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'<>{}$]{0,64}:[^\s/@\"'<>{}$]{8,128}@[A-Za-z0-9.-]{3,}",
        part="://",
    ),
)

_PLACEHOLDERS = (
    "example", "xxxx", "0000000", "1234567", "abcdefg", "....", "****", "your", "redacted",
    "placeholder", "changeme", "password", "dummy", "insert", "aaaaaa",
)  # fmt: skip
"""In small letters. In a short credential none of them comes up by chance more than once in ten thousand."""
_MADE_UP = re.compile("|".join(f"(?:{re.escape(word)})+" for word in _PLACEHOLDERS))
_PEM_HEADERS = re.compile(rf"{_PEM_HEADER}(?:\s|\\[rn]|[\",])+")
_LEFT_OUT = ("....", "****")
_BREAKS = re.compile(r"\\[rn]|[\s\"',]+")
LONG = 100
"""Characters of a secret part from which chance has to be reckoned with, and every key of OpenSSH's holds a
row of `A`: placeholders in it then count by their share."""
LONG_KEY = 40
"""The same of a private key of which nothing was left out."""


class Rules:
    """All formats, compiled into one pass over the data."""

    def __init__(self) -> None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = 64 << 20
        options.encoding = re2.Options.Encoding.LATIN1
        self._one: Any = re2.compile(
            "|".join(f"(?:{rule.pattern})" for rule in RULES).encode(), options
        )
        self._options = options
        self._each: dict[str, Any] = {}
        """Each by itself, once something was found: which of them was it?"""

    def find(self, data: bytes) -> Iterator[tuple[Rule, int, int]]:
        for match in self._one.finditer(data):
            start, end = match.span()
            # A little of what stands around it, for the word boundaries.
            low = max(0, start - 1)
            around = data[low : end + 1]
            for rule in RULES:
                own = self._pattern(rule).search(around)
                if own is not None and low + own.start() <= start and plausible(rule, own.group()):
                    yield rule, start, end
                    break

    def _pattern(self, rule: Rule) -> Any:
        pattern = self._each.get(rule.pattern)
        if pattern is None:
            pattern = self._each[rule.pattern] = re2.compile(rule.pattern.encode(), self._options)
        return pattern


def plausible(rule: Rule, found: bytes) -> bool:
    """Random as a credential is, and no placeholder of a manual."""
    text = found.decode("latin-1")
    if rule.part:
        text = text.rpartition("@")[0].partition(rule.part)[2].partition(":")[2]
        if any(word in text.lower() for word in ("secret", "passw", "token")):
            return False
    long = LONG
    if rule.id == "private-key":
        lines = _BREAKS.split(_PEM_HEADERS.sub("", text.split("-----", 2)[2]))
        text = "".join(lines)
        # Prose in the place of a key has no such lines.
        long = LONG_KEY if max(map(len, lines)) >= LONG_KEY else len(text) + 1
    if _is_placeholder(text, long):
        return False
    if rule.mixed and not (
        any(c.isdigit() for c in text)
        and any(c.isupper() for c in text)
        and any(c.islower() for c in text)
    ):
        return False
    return bits(text) >= LEAST_BITS


def _is_placeholder(text: str, long: int) -> bool:
    """`long`: characters from which the words may have come up by chance."""
    small = text.lower()
    if not any(word in small for word in _PLACEHOLDERS):
        return False
    if any(sign in small for sign in _LEFT_OUT):
        long = max(long, LONG)
    left = len(_MADE_UP.sub("", small))
    return left < long or (len(small) - left) * 8 > len(small)


def bits(text: str) -> float:
    """Shannon entropy of each character."""
    counts, size = Counter(text), len(text)
    return -sum(n / size * log2(n / size) for n in counts.values()) if size else 0.0
