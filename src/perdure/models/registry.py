"""Opens models by what an agent's files say: provider, name, and the credential that belongs to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from perdure.kernel.errors import ConfigError
from perdure.kernel.ports import Model

from .credentials import Credentials, missing
from .places import local_place, origin
from .providers import PROVIDERS, Provider, find, nearest
from .spec import ModelSpec, Secret
from .wire import Http

CLOUD_WINDOW = 128_000
LOCAL_WINDOW = 32_000
"""Tokens, for models of which nothing is known. `context_window` in an agent's file says better."""


class Models:
    """All providers, with the owner's credentials. Shared by the sessions of a workspace."""

    def __init__(
        self,
        http: Http,
        credentials: Credentials,
        *,
        base: Path,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        """`base`: the folder that the relative path of a script starts from, the workspace's.
        `env`: where local servers may be named, e.g. in OLLAMA_HOST."""
        self._http, self._credentials = http, credentials
        self._base, self._env = base, env

    def open(self, spec: ModelSpec) -> Model:
        """A model for one session. Raises ConfigError: unknown provider, missing key or package,
        a script that cannot be read."""
        row = find(spec.provider)
        if row is None:
            return self._unlisted(spec)
        match row.protocol:
            case "rehearsal":
                from .rehearsal import RehearsalModel

                return RehearsalModel()
            case "script":
                from .script import ScriptModel

                try:
                    path = self._base / Path(spec.name.replace("\0", "\ufffd")).expanduser()
                except RuntimeError as error:  # ~ of somebody there is not
                    raise ConfigError(f"script:{spec.name}: {error}") from None
                try:
                    return ScriptModel.load(path, name=f"script:{spec.name}")
                except ConfigError as error:
                    raise self._unquoted(error, path) from None
        if not spec.name:
            raise ConfigError(
                f"{row.title} has many models, and none is named.",
                hint=f"Write {row.name}/{row.example or 'MODEL'}.",
            )
        spec = replace(
            spec,
            provider=row.name,
            base_url=spec.base_url or local_place(row, self._env),
            api_key=spec.api_key or self._key(row, spec),
            no_key=self._withheld(spec),
        )
        match row.protocol:
            case "anthropic":
                from .anthropic import Anthropic

                return Anthropic(spec, self._http)
            case "gemini":
                from .gemini import Gemini

                return Gemini(spec, self._http)
            case "openai-responses":
                from .openai_responses import OpenAIResponses

                return OpenAIResponses(spec, self._http)
            case _:
                from .openai_chat import OpenAIChat

                return OpenAIChat(spec, self._http)

    def window(self, spec: ModelSpec) -> int:
        """Tokens of context a model can take. The first look into genai-prices' table costs a process
        half a second; it is not done for a server of the owner's own, whose models it cannot know."""
        if spec.context_window:
            return spec.context_window
        row = find(spec.provider)
        if row is not None and row.key == "optional":
            return LOCAL_WINDOW
        if spec.base_url or (row is not None and row.key == "none"):
            return CLOUD_WINDOW
        from .prices import context_window

        provider = (row.prices or row.name) if row is not None else spec.provider
        return context_window(provider, spec.name) or CLOUD_WINDOW

    async def close(self) -> None:
        await self._http.close()

    def _unquoted(self, error: ConfigError, path: Path) -> ConfigError:
        """Whoever may name a script must not get to read any file: what a mistake says quotes it."""
        if path.resolve().is_relative_to(self._base.resolve()):
            return error
        return ConfigError(
            f"{path} is no script that can be played",
            hint="What is wrong with a script is told only of those in the workspace's folder.",
        )

    def _unlisted(self, spec: ModelSpec) -> Model:
        """A server behind `base_url`, or one of the many that pydantic-ai reaches."""
        if not spec.name:
            raise ConfigError(f"{spec.provider!r} names no model.", hint=_known(spec.provider))
        key = spec.api_key or self._credentials.secret(
            spec.provider, needed=False, at=spec.base_url
        )
        spec = replace(spec, api_key=key, no_key=self._withheld(spec))
        if spec.base_url:
            from .openai_chat import OpenAIChat

            return OpenAIChat(spec, self._http)
        from . import longtail

        if not longtail.knows(spec.provider) and (close := nearest(spec.provider)):
            raise ConfigError(
                f"There is no provider {spec.provider!r}.", hint=f"Did you mean {close}?"
            )
        return longtail.LongTail(spec, self._http)

    def _key(self, row: Provider, spec: ModelSpec) -> Secret:
        if row.key == "needed" and not spec.base_url:
            if self._credentials.get(row.name) is None:
                raise missing(row.name, row.env)
            return self._credentials.secret(row.name)
        return self._credentials.secret(row.name, needed=False, at=spec.base_url)

    def _withheld(self, spec: ModelSpec) -> Callable[[], str] | None:
        """Says, when such a server wants a key, why it was sent none."""
        if not spec.base_url or spec.api_key is not None:
            return None
        origin(spec.base_url)  # what is no address is found now, not at the first call
        provider, at = spec.provider, spec.base_url
        return lambda: self._credentials.withheld(provider, at)


def _known(provider: str) -> str:
    close = nearest(provider)
    if close:
        return f"Write {close}/{PROVIDERS[close].example or 'MODEL'}."
    return "Write provider/model, e.g. anthropic/claude-sonnet-5-5."
