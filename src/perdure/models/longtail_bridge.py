"""The other half of `longtail`: what needs pydantic-ai loaded. Import it where it is used.

Items become pydantic-ai's messages, its stream becomes a draft, its exceptions become ModelErrors. A
reply's `native` is pydantic-ai's own JSON of it, so that signatures round-trip.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final

import anyio
from pydantic_ai import exceptions
from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, infer_model
from pydantic_ai.providers import Provider, infer_provider, infer_provider_class
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from perdure.kernel.errors import ModelError, ModelErrorKind, PerdureError
from perdure.kernel.events import Json, Native, Part, StopReason, Text, ToolCall, Usage
from perdure.kernel.prompt import AssistantItem, ImageSource, Item, Prefix, Prompt, UserItem

from .calls import call_id, call_name, own
from .failures import error_of, problem, readable
from .most import ByLimit
from .openai_content import missing, result_text
from .reply import Draft, native
from .spec import ModelSpec

FORMAT: Final = "pydantic-ai"

_STOPS: Final[dict[str, StopReason]] = {
    "stop": "end",
    "length": "length",
    "content_filter": "refusal",
    "tool_call": "tools",
}
_KINDS: Final[tuple[tuple[str, ModelErrorKind], ...]] = (
    ("ModelRateLimitError", "rate_limited"),
    ("ModelQuotaExceededError", "billing"),
    ("ModelOverloadedError", "overloaded"),
    ("ModelUnavailableError", "overloaded"),
    ("ModelServerError", "server"),
    ("ModelTimeoutError", "timeout"),
    ("ModelConnectionError", "connection"),
    ("ModelAuthenticationError", "auth"),
    ("ModelNotFoundError", "not_found"),
    ("ModelContextWindowExceededError", "context_overflow"),
)
"""pydantic-ai's classes by name, the more exact first: older versions have not all of them."""


class Bridge:
    """One model of pydantic-ai, and this session's messages in its form."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._model = _model(spec)
        self._items: list[Item] = []
        self._messages: list[ModelMessage | None] = []
        self._revision = -1
        self._response: ModelResponse | None = None
        self._entered = False
        self._opened = AsyncExitStack()
        self._settings = ByLimit(
            spec.max_output_tokens, lambda most: _settings(spec, self._model, most)
        )

    async def stream(self, prompt: Prompt, draft: Draft) -> None:
        """One call. Raises ModelError."""
        self._response = None
        if not self._entered:
            await self._opened.enter_async_context(self._model)
            self._entered = True
        try:
            async with model_request_stream(
                self._model,
                self._request(prompt),
                model_settings=self._settings.of(prompt.max_output),
                model_request_parameters=_parameters(prompt),
            ) as stream:
                async for event in stream:
                    _take(event, draft)
                response = stream.get()
        except (exceptions.AgentRunError, exceptions.UserError) as error:
            raise _failed(error, self._spec) from error
        except (OSError, TimeoutError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
            kind: ModelErrorKind = "timeout" if isinstance(error, TimeoutError) else "connection"
            raise ModelError(
                f"The connection to {self._spec.provider} broke.", kind=kind
            ) from error
        for index, part in enumerate(response.parts):
            if isinstance(part, ToolCallPart) and isinstance(part.args, dict):
                draft.call(index, arguments=json.dumps(part.args))
        self._response = response
        if response.model_name:
            draft.model = response.model_name
        draft.usage = _usage(response.usage)
        if response.state == "complete":
            # Not every provider of the long tail says why it ended; a broken one is not complete.
            draft.stop = _STOPS.get(response.finish_reason or "stop", "other")

    def native(self, calls: list[ToolCall]) -> Native | None:
        """pydantic-ai's own JSON of the reply, on one line."""
        if self._response is None:
            return None
        return native(FORMAT, ModelMessagesTypeAdapter.dump_json([self._response]))

    async def close(self) -> None:
        """Close the SDK's connections."""
        self._entered = False
        await self._opened.aclose()

    def _request(self, prompt: Prompt) -> list[ModelMessage]:
        """The whole history; neighbours in the user's role are one message, as some APIs demand."""
        merged: list[ModelMessage] = []
        tail = [UserPromptPart(content=prompt.tail)] if prompt.tail else []
        for message in (*self._sync(prompt), ModelRequest(parts=tail) if tail else None):
            last = merged[-1] if merged else None
            if isinstance(message, ModelRequest) and isinstance(last, ModelRequest):
                merged[-1] = replace(last, parts=[*last.parts, *message.parts])
            elif message is not None:
                merged.append(message)
        if prompt.prefix.system:
            last = merged[-1] if merged else ModelRequest(parts=[])
            if isinstance(last, ModelRequest):
                merged[-1:] = [replace(last, instructions=prompt.prefix.system)]
            else:
                merged.append(ModelRequest(parts=[], instructions=prompt.prefix.system))
        return merged

    def _sync(self, prompt: Prompt) -> list[ModelMessage | None]:
        """One message for each item, made once."""
        if prompt.revision != self._revision or len(prompt.items) < len(self._items):
            known = {id(item): made for item, made in zip(self._items, self._messages, strict=True)}
            kept = self._items  # alive until here, so that no id names another item
            self._items, self._messages = [], []
            for item in prompt.items:
                made = known.get(id(item)) or _message(item, prompt.images)
                self._items.append(item)
                self._messages.append(made)
            del kept
            self._revision = prompt.revision
        for item in prompt.items[len(self._items) :]:
            self._messages.append(_message(item, prompt.images))
            self._items.append(item)
        return self._messages


def _model(spec: ModelSpec) -> Model[Any]:
    try:
        return infer_model(f"{spec.provider}:{spec.name}", lambda name: _provider(name, spec))
    except ImportError as error:
        raise ModelError(
            f"The SDK of {spec.provider} is not installed.",
            kind="invalid",
            hint=readable(str(error)),
        ) from error
    except (exceptions.UserError, ValueError, TypeError) as error:
        raise ModelError(
            f"{spec.label} cannot be used: {readable(str(error), spec.key())}", kind="invalid"
        ) from error


def _provider(name: str, spec: ModelSpec) -> Provider[Any]:
    given = {"api_key": spec.key(), "base_url": spec.base_url}
    given = {key: value for key, value in given.items() if value}
    if not given:
        return infer_provider(name)
    made: Provider[Any] = infer_provider_class(name)(**given)
    return made


def _settings(spec: ModelSpec, model: Model[Any], most: int | None) -> ModelSettings:
    settings = ModelSettings(max_retries=0, timeout=spec.timeout_seconds)
    if most is not None:
        settings["max_tokens"] = most
    if spec.temperature is not None:
        settings["temperature"] = spec.temperature
    if spec.effort:
        settings["thinking"] = spec.effort
    if spec.extra:
        settings["extra_body"] = dict(spec.extra)
    if spec.headers:
        settings["extra_headers"] = dict(spec.headers)
    # What a provider cannot do it would only warn about on stderr.
    for name in getattr(model, "unsupported_settings", ()):
        settings.pop(name, None)  # type: ignore[misc]
    return settings


def _parameters(prompt: Prompt) -> ModelRequestParameters:
    return ModelRequestParameters(function_tools=_tools(prompt.prefix) if prompt.tools else [])


def _tools(prefix: Prefix) -> list[ToolDefinition]:
    return [
        ToolDefinition(
            name=tool.name,
            description=tool.description,
            parameters_json_schema=dict(tool.parameters),
            strict=False,
        )
        for tool in prefix.tools
    ]


def _message(item: Item, images: ImageSource | None) -> ModelMessage | None:
    if isinstance(item, UserItem):
        return ModelRequest(parts=[UserPromptPart(content=_content(item.parts, images))])
    if isinstance(item, AssistantItem):
        if body := own(item, FORMAT, call_id):
            return ModelMessagesTypeAdapter.validate_json(body)[0]
        parts: list[TextPart | ToolCallPart] = []
        for part in item.parts:
            if isinstance(part, Text):
                parts.append(TextPart(content=part.text))
            elif isinstance(part, ToolCall):
                parts.append(
                    ToolCallPart(
                        tool_name=call_name(part.name),
                        args=dict(part.arguments),
                        tool_call_id=call_id(part.id),
                    )
                )
        return ModelResponse(parts=parts) if parts else None
    results: list[ModelRequestPart] = []
    for result in item.results:
        text = result_text(result.result)
        pictures = [p for p in result.result.parts if not isinstance(p, Text)]
        content = [text, *_content_list(tuple(pictures), images)] if pictures else text
        results.append(
            ToolReturnPart(
                tool_name=call_name(result.tool),
                content=content,
                tool_call_id=call_id(result.call),
            )
        )
    return ModelRequest(parts=results)


def _content(parts: tuple[Part, ...], images: ImageSource | None) -> str | Sequence[UserContent]:
    content = _content_list(parts, images)
    return content[0] if len(content) == 1 and isinstance(content[0], str) else content


def _content_list(parts: tuple[Part, ...], images: ImageSource | None) -> list[UserContent]:
    content: list[UserContent] = []
    for part in parts:
        if isinstance(part, Text):
            content.append(part.text)
            continue
        try:
            data = images.read_image(part) if images is not None else None
        except (OSError, PerdureError):
            data = None
        content.append(
            BinaryContent(data=data, media_type=part.media_type) if data else missing(part)
        )
    return content


def _take(event: object, draft: Draft) -> None:
    if isinstance(event, PartStartEvent):
        part = event.part
        if isinstance(part, TextPart):
            draft.text(event.index, part.content)
        elif isinstance(part, ThinkingPart):
            draft.thinking(event.index, part.content)
        elif isinstance(part, ToolCallPart):
            draft.call(
                event.index,
                id=part.tool_call_id,
                name=part.tool_name,
                arguments=_text(part.args),
            )
    elif isinstance(event, PartDeltaEvent):
        delta = event.delta
        if isinstance(delta, TextPartDelta):
            draft.text(event.index, delta.content_delta)
        elif isinstance(delta, ThinkingPartDelta):
            draft.thinking(event.index, delta.content_delta or "")
        elif isinstance(delta, ToolCallPartDelta):
            draft.call(
                event.index,
                id=delta.tool_call_id or "",
                name=delta.tool_name_delta or "",
                arguments=_text(delta.args_delta),
            )


def _text(arguments: object) -> str:
    """Arguments as they stream. Those that come as an object are taken whole at the end."""
    return arguments if isinstance(arguments, str) else ""


def _usage(usage: RequestUsage) -> Usage:
    return Usage(
        input=usage.input_tokens,
        cache_read=usage.cache_read_tokens,
        cache_write=usage.cache_write_tokens,
        output=usage.output_tokens,
        reasoning=int(usage.details.get("reasoning_tokens", 0)),
    )


def _failed(error: Exception, spec: ModelSpec) -> ModelError:
    status = getattr(error, "status_code", None)
    body: Json = getattr(error, "body", None)
    if isinstance(body, str):
        code, message, details = "", body, None
    else:
        code, message, details = error_of(body)
    code = getattr(error, "provider_error_code", None) or code
    made = problem(
        str(code),
        message or str(error),
        provider=spec.provider,
        status=status if isinstance(status, int) else None,
        details=details,
        secret=spec.key(),
    )
    names = {base.__name__ for base in type(error).__mro__}
    for name, kind in _KINDS:
        if name in names:
            made.kind = kind
            break
    else:
        if isinstance(error, exceptions.UserError):
            made.kind = "invalid"
    waits = getattr(error, "retry_after", None)
    made.retry_after = waits if isinstance(waits, int | float) else made.retry_after
    return made
