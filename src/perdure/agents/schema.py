"""The JSON Schemas of agent.yaml and perdure.yaml, for editors. Published under docs/schema/."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from perdure.kernel.events import Json

from .config import AgentFile, WorkspaceFile

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "type")


def agent_schema() -> dict[str, Json]:
    return _schema(AgentFile, "Perdure agent")


def workspace_schema() -> dict[str, Json]:
    return _schema(WorkspaceFile, "Perdure workspace")


def _schema(model: type[BaseModel], title: str) -> dict[str, Json]:
    schema: dict[str, Any] = model.model_json_schema(mode="validation")
    for part in (schema, *schema["$defs"].values()):
        for settings in part["properties"].values():
            _loosen(settings)
    schema["$defs"]["FromEnvironment"] = {
        "description": "${NAME} or ${NAME:-default}",
        "type": "string",
        "pattern": r"^\$\{[^}]+\}$",
    }
    return {"$schema": DRAFT, **schema, "title": title}


def _loosen(settings: dict[str, Any]) -> None:
    """What may be written besides and the types alone do not say: a model as text, and a variable of
    the environment where a number or a truth value stands."""
    settings.pop("title", None)
    if settings.get("type") in ("integer", "number", "boolean"):
        settings["anyOf"] = [{k: settings.pop(k) for k in _LIMITS if k in settings}]
    branches: list[dict[str, Any]] = settings.get("anyOf", [])
    if any(b.get("type") in ("integer", "number", "boolean") for b in branches):
        branches.append({"$ref": "#/$defs/FromEnvironment"})
    if any(b.get("$ref") == "#/$defs/ModelSettings" for b in branches):
        branches.insert(0, {"type": "string"})
    if settings.get("items") == {"$ref": "#/$defs/OneModel"}:
        settings["items"] = {"anyOf": [{"type": "string"}, settings["items"]]}
