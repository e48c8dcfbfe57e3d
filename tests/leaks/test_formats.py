"""Credentials by how they look: how many are found, and how much is found that is none."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import uuid
from pathlib import Path

import pytest

from perdure.leaks import Leaks
from perdure.leaks.rules import RULES

from .samples import BASE64, DRESSES, SAMPLES

ROOT = Path(__file__).parents[2]
LEAKS = Leaks(lambda: ())
EACH = 6
LEAST_RECALL = 0.98
MOST_FALSE = 1
"""In all of the ordinary files below."""


def test_every_rule_has_samples_that_were_written_without_it() -> None:
    assert {rule.id for rule in RULES} == set(SAMPLES)


def test_recall_over_all_formats_and_disguises() -> None:
    dice = random.Random(20_26)
    missed: dict[tuple[str, str], int] = {}
    total = 0
    for kind, makes in SAMPLES.items():
        for make in makes:
            for _ in range(EACH):
                secret = make(dice)
                for dress, put_on in DRESSES.items():
                    total += 1
                    if kind not in {leak.kind for leak in LEAKS.scan(put_on(secret))}:
                        missed[kind, dress] = missed.get((kind, dress), 0) + 1
    lost = sum(missed.values())
    assert lost <= (1 - LEAST_RECALL) * total, f"{lost} of {total} missed: {missed}"


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_no_format_is_missed_as_it_stands(kind: str) -> None:
    dice = random.Random(kind)
    secrets = [make(dice) for make in SAMPLES[kind] for _ in range(EACH)]
    found = [s for s in secrets if kind in {leak.kind for leak in LEAKS.scan(f"key: {s}\n")}]
    assert len(found) >= len(secrets) * 0.9


def ordinary() -> list[tuple[str, bytes]]:
    """What agents handle all day: code, documents, hashes, identifiers, pictures, numbers."""
    files = [
        *sorted(Path(os.__file__).parent.glob("*.py"))[:120],
        *sorted((ROOT / "src").rglob("*.py")),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "docs").rglob("*.json")),
        *ROOT.glob("*.lock"),
        *ROOT.glob("*.md"),
    ]
    dice = random.Random(1)
    hashes = "\n".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(5_000))
    commits = "\n".join(hashlib.sha1(str(n).encode()).hexdigest() for n in range(5_000))
    ids = "\n".join(str(uuid.UUID(int=dice.getrandbits(128))) for _ in range(5_000))
    picture = base64.b64encode(dice.randbytes(600_000))
    integrity = "\n".join(
        "sha512-" + base64.b64encode(dice.randbytes(64)).decode() for _ in range(3_000)
    )
    made = [
        ("sha256", hashes.encode()),
        ("commits", commits.encode()),
        ("uuids", ids.encode()),
        ("a picture in base64", picture),
        ("integrity of packages", integrity.encode()),
        ("a binary", dice.randbytes(600_000)),
        ("words", "-".join(dice.choices(["sk", "key", "token", "live", "api"], k=50_000)).encode()),
    ]
    return [(str(f), f.read_bytes()) for f in files if f.stat().st_size < 2 << 20] + made


def test_ordinary_files_hold_no_credentials() -> None:
    corpus = ordinary()
    assert sum(len(data) for _, data in corpus) > 5_000_000
    false = [
        (name, leak.kind, data[leak.start : leak.end][:60])
        for name, data in corpus
        for leak in LEAKS.scan(data)
    ]
    assert len(false) <= MOST_FALSE, false


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "sk-ant-api03-your-key-here",
        "postgres://user:password@localhost/app",
        "https://user:${PASSWORD}@example.org/",
        "sk_test_00000000000000000000000000",
        "AIzaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA" + "x" * 400 + "\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq3Pq0mC1hXz\n....\n9Qw==\n-----END",
        "-----BEGIN PRIVATE KEY-----\nInsert the content of your own key right here, all of it, as it is "
        "in the file that was made for you, and do not give it to anybody\n-----END PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXkt" + "A" * 200 + "\n-----END",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,3FC9D0A1B2E48576\n\n"
        "...\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,3FC9D0A1B2E48576\n\n"
        + "x" * 64
        + "\n-----END RSA PRIVATE KEY-----",
        "A key that begins with -----BEGIN RSA PRIVATE KEY----- and Proc-Type: 4,ENCRYPTED has a passphrase.",
        "the sk-proj-roadmap-for-the-next-quarter-and-the-one-after-it is here",
    ],
)
def test_placeholders_are_no_credentials(text: str) -> None:
    assert LEAKS.scan(text) == ()


@pytest.mark.parametrize("word", ["xxxx", "your", "aaaaaa", "1234567"])
@pytest.mark.parametrize("size", [64, 1_600])
def test_a_word_that_comes_up_by_chance_makes_no_private_key_a_placeholder(
    word: str, size: int
) -> None:
    dice = random.Random(word)
    body = "".join(dice.choices(BASE64, k=size))
    body = body[:30] + word.upper() + body[30 + len(word) :]
    lines = "\n".join(body[n : n + 64] for n in range(0, size, 64))
    for text in (lines, lines.replace("\n", "\\n")):
        found = LEAKS.scan(f"-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
        assert [leak.kind for leak in found] == ["private-key"]
