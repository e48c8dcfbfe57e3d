from __future__ import annotations

from starlette.responses import Response

from perdure.kernel.errors import NotFound
from perdure.kernel.events import Json
from perdure.runtime.views import AgentView

from .. import bodies
from ..api import RuntimeApi
from ..bodies import answer
from ..documents import fails, returns
from ..routing import App
from .params import API, Agent

EXAMPLE: dict[str, Json] = {
    "name": "main",
    "description": "A helpful assistant on this machine.",
    "model": "anthropic/claude-sonnet-5-5",
    "error": "",
}


def add(app: App, runtime: RuntimeApi) -> None:
    @app.get(
        f"{API}/agents",
        tags=["agents"],
        responses=returns(bodies.AgentList, "All agents.", {"agents": [EXAMPLE]}),
    )
    async def list_agents() -> Response:
        """All agents of the workspace, those with broken files included."""
        return answer(bodies.AgentList(agents=tuple(runtime.agents())))

    @app.get(
        f"{API}/agents/{{name}}",
        tags=["agents"],
        responses=returns(AgentView, "The agent.", EXAMPLE) | fails(404),
    )
    async def show_agent(name: Agent) -> Response:
        """One agent."""
        for agent in runtime.agents():
            if agent.name == name:
                return answer(agent)
        raise NotFound(f"there is no agent {name}", hint="GET /api/v1/agents lists them.")
