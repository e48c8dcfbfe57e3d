"""Opening models by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from perdure.kernel.errors import ConfigError
from perdure.kernel.ports import Model
from perdure.models import ModelSpec
from perdure.models.adapter import Adapter
from perdure.models.credentials import Credentials
from perdure.models.providers import PROVIDERS, find, nearest
from perdure.models.registry import CLOUD_WINDOW, LOCAL_WINDOW, Models
from perdure.models.rehearsal import RehearsalModel
from perdure.models.script import ScriptModel
from perdure.models.wire import Http

KEYS = {name: "k" for row in PROVIDERS.values() for name in row.env}


def models(folder: Path, env: dict[str, str] | None = None) -> Models:
    env = KEYS if env is None else env
    return Models(Http(), Credentials(folder / "config", env), base=folder, env=env)


def spec(label: str, **more: object) -> ModelSpec:
    provider, _, name = label.partition("/")
    return ModelSpec(provider=provider, name=name, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("label", "adapter", "url"),
    [
        ("anthropic/claude-sonnet-4-5", "Anthropic", "https://api.anthropic.com/v1/messages"),
        ("openai/gpt-5", "OpenAIResponses", "https://api.openai.com/v1/responses"),
        ("openai-chat/gpt-5", "OpenAIChat", "https://api.openai.com/v1/chat/completions"),
        ("gemini/gemini-2.5-pro", "Gemini", "https://generativelanguage.googleapis.com/"),
        ("google/gemini-2.5-pro", "Gemini", "https://generativelanguage.googleapis.com/"),
        ("openrouter/a/b", "OpenAIChat", "https://openrouter.ai/api/v1/chat/completions"),
        ("ollama/qwen3", "OpenAIChat", "http://127.0.0.1:11434/v1/chat/completions"),
        ("groq/llama", "OpenAIChat", "https://api.groq.com/openai/v1/chat/completions"),
        ("mistral/large", "OpenAIChat", "https://api.mistral.ai/v1/chat/completions"),
        ("deepseek/chat", "OpenAIChat", "https://api.deepseek.com/chat/completions"),
        ("x-ai/grok-4", "OpenAIChat", "https://api.x.ai/v1/chat/completions"),
        ("llama.cpp/any", "OpenAIChat", "http://127.0.0.1:8080/v1/chat/completions"),
    ],
)
def test_each_provider_gets_its_protocol_and_address(
    tmp_path: Path, label: str, adapter: str, url: str
) -> None:
    model = models(tmp_path).open(spec(label))
    assert type(model).__name__ == adapter
    assert address(model).startswith(url)


def address(model: Model) -> str:
    from perdure.kernel.prompt import Prefix, Prompt

    assert isinstance(model, Adapter)
    return model.request(Prompt(prefix=Prefix(system="s", digest="d"), items=[]))[0]


@pytest.mark.parametrize("row", PROVIDERS.values(), ids=lambda r: r.name)
def test_every_row_can_be_opened(tmp_path: Path, row: object) -> None:
    (tmp_path / "s.yaml").write_text("replies: [{text: hi}]")
    name = getattr(row, "name")  # noqa: B009
    models(tmp_path).open(ModelSpec(provider=name, name="s.yaml"))


def test_the_embedded_models_need_nothing(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.yaml").write_text("replies: [{text: hi}]")
    opened = models(tmp_path, {})
    assert isinstance(opened.open(ModelSpec(provider="rehearsal", name="")), RehearsalModel)
    script = opened.open(ModelSpec(provider="script", name="sub/a.yaml"))
    assert isinstance(script, ScriptModel)
    assert script.name == "script:sub/a.yaml"


def test_a_bad_script_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("replies:\n- txt: hi")
    with pytest.raises(ConfigError, match=r"a\.yaml:2: unknown key `txt`"):
        models(tmp_path).open(ModelSpec(provider="script", name="a.yaml"))


def test_a_missing_key_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="perdure login anthropic`, or set ANTHROPIC_API_KEY"):
        models(tmp_path, {}).open(spec("anthropic/claude-sonnet-4-5"))


def test_a_server_of_one_s_own_needs_no_key(tmp_path: Path) -> None:
    opened = models(tmp_path, {})
    for label in ("anthropic/x", "openai/x", "gemini/x"):
        model = opened.open(spec(label, base_url="http://127.0.0.1:4010"))
        assert isinstance(model, Adapter)
        assert model.spec.key() == ""
        assert address(model).startswith("http://127.0.0.1:4010/")
    assert opened.open(spec("ollama/x"))


def test_a_key_handed_in_is_used(tmp_path: Path) -> None:
    model = models(tmp_path, {}).open(spec("openai/x", api_key=lambda: "mine"))
    assert isinstance(model, Adapter)
    assert model.spec.key() == "mine"


def test_a_key_stored_while_it_runs_is_used_at_the_next_call(tmp_path: Path) -> None:
    env = {"OPENAI_API_KEY": "old"}
    model = models(tmp_path, env).open(spec("openai/x"))
    env["OPENAI_API_KEY"] = "new"
    assert isinstance(model, Adapter)
    assert model.spec.key() == "new"


def test_any_name_with_a_base_url_is_a_compatible_server(tmp_path: Path) -> None:
    env = {"MY_BOX_API_KEY": "k", "MY_BOX_BASE_URL": "http://box:8000"}
    model = models(tmp_path, env).open(spec("my-box/llama", base_url="http://box:8000/v1"))
    assert type(model).__name__ == "OpenAIChat"
    assert address(model) == "http://box:8000/v1/chat/completions"
    assert isinstance(model, Adapter)
    assert model.spec.key() == "k"
    assert model.name == "my-box/llama"


def test_a_misspelt_provider_is_told_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean anthropic"):
        models(tmp_path).open(spec("antropic/claude"))


def test_an_unknown_provider_is_told_what_it_can_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        models(tmp_path).open(spec("qqqqq/x"))


@pytest.mark.parametrize("label", ["anthropic", "anthropic/", "qqqqq/"])
def test_a_provider_without_a_model_is_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(ConfigError, match=r"is named|names no model"):
        models(tmp_path).open(spec(label))


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ("box", "http://box:11434/v1"),
        ("box:9000", "http://box:9000/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("https://ollama.example/", "https://ollama.example/v1"),
        ("http://box:9000/v1", "http://box:9000/v1"),
    ],
)
def test_ollama_is_found_where_its_variable_says(tmp_path: Path, place: str, url: str) -> None:
    model = models(tmp_path, {"OLLAMA_HOST": place}).open(spec("ollama/qwen3"))
    assert address(model) == f"{url}/chat/completions"


def test_the_window_is_the_agent_s_word_the_table_s_or_a_default(tmp_path: Path) -> None:
    opened = models(tmp_path)
    assert opened.window(spec("anthropic/claude-sonnet-4-5", context_window=9)) == 9
    assert opened.window(spec("anthropic/claude-sonnet-4-5")) == 200_000
    assert opened.window(spec("xai/grok-4")) == 256_000
    assert opened.window(spec("openai-chat/gpt-5")) == opened.window(spec("openai/gpt-5"))
    assert opened.window(spec("openai/never-heard-of")) == CLOUD_WINDOW
    assert opened.window(spec("ollama/qwen3")) == LOCAL_WINDOW
    assert opened.window(spec("box/x", base_url="http://box/v1")) == CLOUD_WINDOW
    assert opened.window(ModelSpec(provider="rehearsal", name="")) == CLOUD_WINDOW


def test_opening_the_embedded_model_loads_nothing_heavy(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys\nfrom pathlib import Path\n"
        "from perdure.models import ModelSpec\nfrom perdure.models.credentials import Credentials\n"
        "from perdure.models.registry import Models\nfrom perdure.models.wire import Http\n"
        "m = Models(Http(), Credentials(Path('.'), {}), base=Path('.'))\n"
        "s = ModelSpec(provider='rehearsal', name='')\n"
        "m.open(s); m.window(s)\n"
        "heavy = {'aiohttp', 'genai_prices', 'pyrage', 'yaml', 'pydantic_ai', 'openai', 'httpx'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_names_and_aliases_are_found_without_regard_to_case() -> None:
    assert find("Claude") is PROVIDERS["anthropic"]
    assert find("nobody") is None
    assert nearest("gemni") == "gemini"
    assert nearest("zzzzzz") == ""


def test_no_two_rows_share_a_name() -> None:
    names = [n for row in PROVIDERS.values() for n in (row.name, *row.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["{outside}", "a\0b", "~nobody-at-all/x", "/dev/zero", "missing"])
def test_a_script_that_is_none_is_told_without_its_content(tmp_path: Path, name: str) -> None:
    workspace, outside = tmp_path / "w", tmp_path / "passwd"
    workspace.mkdir()
    outside.write_text("hunter2: [: not yours\n")
    with pytest.raises(ConfigError) as caught:
        models(workspace).open(ModelSpec(provider="script", name=name.format(outside=outside)))
    assert "hunter2" not in str(caught.value) and "YAML" not in str(caught.value)


def test_a_link_does_not_bring_a_script_into_the_workspace(tmp_path: Path) -> None:
    workspace, outside = tmp_path / "w", tmp_path / "passwd"
    workspace.mkdir()
    outside.write_text("hunter2: 1\n")
    (workspace / "x.yaml").symlink_to(outside)
    with pytest.raises(ConfigError) as caught:
        models(workspace).open(ModelSpec(provider="script", name="x.yaml"))
    assert "hunter2" not in str(caught.value)
    (workspace / "y.yaml").write_text("repies: 1\n")
    with pytest.raises(ConfigError, match="repies"):
        models(workspace).open(ModelSpec(provider="script", name="y.yaml"))
