"""What is sent to Gemini."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from perdure.kernel.errors import ConfigError
from perdure.kernel.events import ArtifactId, Image, Text
from perdure.kernel.prompt import AssistantItem, Item, Prefix, ResultsItem
from perdure.models.gemini import NO_SIGNATURE, Gemini
from perdure.models.reply import native
from perdure.models.spec import ModelSpec
from perdure.models.wire import Http

from .openai_help import PICTURE, body_of, call, history, prompt, result, user


def model(name: str = "gemini-3-flash-preview", **more: Any) -> Gemini:
    return Gemini(ModelSpec(provider="gemini", name=name, **more), Http())


def test_a_history_becomes_contents() -> None:
    body = body_of(model(), prompt(history()))
    assert [c["role"] for c in body["contents"]] == ["user", "model", "user", "model", "user"]
    asked, said, results, *_ = body["contents"]
    assert asked["parts"][1]["inlineData"]["mimeType"] == "image/png"
    assert said["parts"] == [
        {"text": "Looking."},
        {
            "functionCall": {"id": "call_1", "name": "read", "args": {"path": "a.txt"}},
            "thoughtSignature": NO_SIGNATURE,
        },
        {"functionCall": {"id": "call_2", "name": "read", "args": {"path": "b.png"}}},
    ]
    failed, seen = (p["functionResponse"] for p in results["parts"])
    assert failed == {"id": "call_1", "name": "read", "response": {"error": "no such file"}}
    assert seen["response"] == {"output": "a picture"}
    assert seen["parts"][0]["inlineData"]["mimeType"] == "image/png"
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    (tool,) = body["tools"][0]["functionDeclarations"]
    assert tool["parametersJsonSchema"]["required"] == ["path"]
    assert "generationConfig" not in body


def test_an_older_model_gets_a_results_images_beside_the_results() -> None:
    contents = body_of(model("gemini-2.5-flash"), prompt(history()))["contents"]
    results, beside = contents[2:4]
    assert all("parts" not in p["functionResponse"] for p in results["parts"])
    assert [sorted(p) for p in beside["parts"]] == [["text"], ["inlineData"]]
    assert "call_2" in beside["parts"][0]["text"]
    assert beside["role"] == "user"


def test_an_answer_of_ones_own_goes_back_to_the_byte() -> None:
    body = b'{"role":"model","parts":[{"text":"\\u00e9"},{"text":"","thoughtSignature":"abc=="}]}'
    said = AssistantItem(seq=2, parts=(Text(text="é"),), native=native("gemini", body))
    sent = b"".join(model().request(prompt([user(1, "Hello"), said, user(3, "So?")]))[1])
    assert body in sent


def test_an_answer_of_another_provider_is_written_anew() -> None:
    said = AssistantItem(
        seq=2, parts=(Text(text="Hi"),), native=native("anthropic", b'{"role":"assistant"}')
    )
    contents = body_of(model(), prompt([user(1, "Hi"), said]))["contents"]
    assert contents[1] == {"role": "model", "parts": [{"text": "Hi"}]}


def test_a_conversation_opens_with_the_user_and_blank_text_is_left_out() -> None:
    said = AssistantItem(seq=1, parts=(Text(text="Hi"), Text(text=" ")))
    contents = body_of(model(), prompt([said, user(2, "")]))["contents"]
    assert [c["role"] for c in contents] == ["user", "model", "user"]
    assert len(contents[1]["parts"]) == 1
    assert body_of(model(), prompt([]))["contents"][0]["role"] == "user"


def test_the_tail_comes_last_and_does_not_stay() -> None:
    adapter = model()
    items: list[Item] = [user(1, "Go")]
    contents = body_of(adapter, prompt(items, tail="It is ten."))["contents"]
    assert contents[-1] == {"role": "user", "parts": [{"text": "It is ten."}]}
    assert len(body_of(adapter, prompt(items))["contents"]) == 1


def test_each_request_begins_with_the_one_before_it() -> None:
    adapter = model()
    items: list[Item] = [user(1, "Go")]
    before = b""
    for seq in range(2, 200, 2):
        sent = b"".join(adapter.request(prompt(items))[1])
        assert json.loads(sent) and sent.startswith(before)
        before = sent[: -len(b"]}")]
        said = AssistantItem(seq=seq, parts=(call(f"c{seq}", "x" * 700),))
        items += [said, ResultsItem(seq=seq, results=(result(f"c{seq}", seq, "y" * 700),))]
    assert len(before) > 130_000


def test_tools_are_withdrawn_by_choice_so_that_the_prefix_stays() -> None:
    body = body_of(model(), prompt(history(), tools=False))
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}
    assert body["tools"]
    bare = Prefix(system="", digest="bare")
    body = body_of(model(), prompt(history(), tools=False, prefix=bare))
    assert body.keys() == {"contents"}


@pytest.mark.parametrize(
    ("name", "effort", "config"),
    [
        ("gemini-2.0-flash", "high", None),
        ("gemma-3-27b-it", "high", None),
        ("gemini-2.5-flash", "low", {"includeThoughts": True, "thinkingBudget": 1_024}),
        ("gemini-3-pro-preview", "medium", {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ("gemini-3-flash-preview", "medium", {"includeThoughts": True, "thinkingLevel": "MEDIUM"}),
        ("gemini-3.1-pro-preview", "low", {"includeThoughts": True, "thinkingLevel": "LOW"}),
        ("gemini-4-argon", "high", {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ("gemini-4-argon", "", None),
    ],
)
def test_effort_is_asked_for_as_the_model_takes_it(name: str, effort: Any, config: Any) -> None:
    body = body_of(model(name, effort=effort), prompt(history()))
    assert body.get("generationConfig", {}).get("thinkingConfig") == config


def test_settings_and_extra_fields_are_put_together() -> None:
    more = {
        "generationConfig": {"topP": 0.5},
        "safetySettings": [],
        "tools": [{"googleSearch": {}}],
    }
    adapter = model(temperature=0.2, max_output_tokens=9, extra=more)
    body = body_of(adapter, prompt(history()))
    assert body["generationConfig"] == {"temperature": 0.2, "maxOutputTokens": 9, "topP": 0.5}
    assert body["safetySettings"] == []
    assert body["tools"][1] == {"googleSearch": {}}
    with pytest.raises(ConfigError, match="contents"):
        model(extra={"contents": []})


def test_the_address_names_the_model_and_the_key_stands_in_a_header() -> None:
    adapter = model("models/gemini-3-flash-preview", base_url="http://127.0.0.1:1/v1beta/")
    url = adapter.request(prompt(history()))[0]
    assert url == (
        "http://127.0.0.1:1/v1beta/models/gemini-3-flash-preview:streamGenerateContent?alt=sse"
    )
    assert adapter.headers("k")["x-goog-api-key"] == "k"


def test_an_image_that_cannot_be_sent_is_named() -> None:
    given = replace(prompt([user(1, PICTURE)]), images=None)
    (content,) = body_of(model(), given)["contents"]
    assert "image/png" in content["parts"][0]["text"]
    odd = Image(media_type="image/tiff", artifact=ArtifactId("x.tiff"))
    shown = ResultsItem(seq=2, results=(result("c", 2, odd),))
    contents = body_of(model(), prompt([user(1, "x"), shown]))["contents"]
    assert "image/tiff" in contents[-1]["parts"][1]["text"]
