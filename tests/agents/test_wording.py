"""What is wrong in a file is said in words, with an example that is right; never as a pattern."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from perdure.agents import open_workspace
from perdure.agents.config import AgentFile, WorkspaceFile
from perdure.agents.document import read_document
from perdure.agents.wording import EXAMPLES, FORMS, example_of
from perdure.kernel.errors import ConfigError


def sections(model: type[BaseModel], found: dict[str, type[BaseModel]]) -> None:
    if model.__name__ in found:
        return
    found[model.__name__] = model

    def within(annotation: object) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            sections(annotation, found)
        for argument in get_args(annotation):
            within(argument)

    for field in model.model_fields.values():
        within(field.annotation)


ALL: dict[str, type[BaseModel]] = {}
sections(WorkspaceFile, ALL)
sections(AgentFile, ALL)


@pytest.mark.parametrize(
    ("section", "key"), [(n, k) for n, m in ALL.items() for k in m.model_fields]
)
def test_every_key_has_an_example_that_is_right(tmp_path: Path, section: str, key: str) -> None:
    model = ALL[section]
    file = tmp_path / "x.yaml"
    file.write_text(f"{key}: {example_of(model, key)}\n")
    value = read_document(file, {"PERDURE_TOKEN": "t" * 20}).value
    try:
        model.model_validate(value)
    except ValidationError as error:
        wrong = [e for e in error.errors() if e["loc"][:1] == (key,)]
        assert not wrong, wrong


def test_no_example_is_of_a_key_that_is_gone() -> None:
    known = {f"{n}.{k}" for n, m in ALL.items() for k in m.model_fields}
    assert not EXAMPLES.keys() - known


def test_every_pattern_of_the_configuration_has_words() -> None:
    text = Path(open_workspace.__code__.co_filename).with_name("config.py").read_text()
    named = set(re.findall(r"pattern=(\w+)", text))
    from perdure.agents import config

    assert named and all(getattr(config, name) in FORMS for name in named)
    assert 'pattern=r"' not in text and "pattern='" not in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("egress: {private: ['nas.home']}", "must be host:port, not 'nas.home'"),
        ("egress: {private: ['nas.home']}", "private: [nas.home:443]"),
        ("egress: {allow: ['https://']}", "to: GET https://api.github.com/repos/*"),
        ("egress: {default: maybe}", "must be ask, allow or deny, not 'maybe'"),
        ("egress: {allow: api.github.com}", "must be a list, not 'api.github.com'"),
        ("server: {allowed_hosts: ['a b']}", "the name of a host"),
        ("server: {rate: 0}", "must be more than 0, not 0"),
        ("sandbox: {memory: lots}", "such as 512M or 2G"),
        ("outbox: {'a b': {command: x}}", "letters, digits"),
        ("outbox: {desk: {comand: x}}", "did you mean `command`"),
        ("web: {search: {provider: brave}}", "brave needs a key"),
        ("model: {name: x}", "provider: anthropic"),
        ("checkpoints: 7", "checkpoints: {enabled: true}"),
    ],
)
def test_a_wrong_value_is_answered_with_line_words_and_example(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "perdure.yaml").write_text(f"# mine\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        open_workspace(tmp_path, {})
    told = str(caught.value)
    assert said in told and f"{tmp_path}/perdure.yaml:2: " in told
    assert not re.search(r"\^|\\|\(\?|pattern|\[A-Z", told), told


@pytest.mark.parametrize(
    "text",
    [
        "web: {search: {provider: brave, secret: sk-pasted-by-mistake}}",
        "web: {search: {provider: searxng, url: 'https://me:sk-pasted-by-mistake@s.example'}}",
        "server: {token: [sk-pasted-by-mistake]}",
    ],
)
def test_a_key_that_was_pasted_is_not_repeated(tmp_path: Path, text: str) -> None:
    (tmp_path / "perdure.yaml").write_text(f"{text}\n")
    with pytest.raises(ConfigError) as caught:
        open_workspace(tmp_path, {})
    assert "sk-pasted" not in str(caught.value)
