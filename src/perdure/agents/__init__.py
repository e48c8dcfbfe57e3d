"""Agents as files: where a workspace is, and what the files in it say an agent is.

Here belongs: finding a workspace, perdure.yaml and agent.yaml and their schemas, `${ENV:-default}` and
`{{variables}}`, reading an agent again when its files change, and writing the first files of a new
workspace or agent. What does not belong here: policy files (guard), running hooks (hooks), building a
prompt out of the texts (context), opening a model by its name (models).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .agent import Agent, PromptFile, load_agent
    from .config import AgentFile, ModelSettings, WorkspaceFile
    from .registry import AgentEntry, Agents, Reloaded
    from .schema import agent_schema, workspace_schema
    from .starter import create_agent, scaffold
    from .watched import Watched
    from .workspace import Refused, Workspace, find_workspace, home_folder, open_workspace

_HOMES = {
    "Agent": "agent",
    "AgentEntry": "registry",
    "AgentFile": "config",
    "Agents": "registry",
    "ModelSettings": "config",
    "PromptFile": "agent",
    "Refused": "workspace",
    "Reloaded": "registry",
    "Watched": "watched",
    "Workspace": "workspace",
    "WorkspaceFile": "config",
    "agent_schema": "schema",
    "create_agent": "starter",
    "find_workspace": "workspace",
    "home_folder": "workspace",
    "load_agent": "agent",
    "open_workspace": "workspace",
    "scaffold": "starter",
    "workspace_schema": "schema",
}

__all__ = [
    "Agent",
    "AgentEntry",
    "AgentFile",
    "Agents",
    "ModelSettings",
    "PromptFile",
    "Refused",
    "Reloaded",
    "Watched",
    "Workspace",
    "WorkspaceFile",
    "agent_schema",
    "create_agent",
    "find_workspace",
    "home_folder",
    "load_agent",
    "open_workspace",
    "scaffold",
    "workspace_schema",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
