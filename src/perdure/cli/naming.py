"""Names of models and providers, as a person types them: checked before they are written anywhere."""

from __future__ import annotations

from perdure.cli.problems import USAGE, Problem

EXAMPLE = "Write provider/model, e.g. anthropic/claude-sonnet-5-5."


def check_model(reference: str) -> None:
    """`provider/name`, `script:FILE` or a model that needs no name. Raises Problem."""
    from perdure.models.providers import find

    if not reference or reference.startswith("script:"):
        return
    provider, slash, name = reference.partition("/")
    row = find(provider)
    if row is not None and row.key == "none":
        return
    if row is not None and not name:
        hint = f"Write {row.name}/{row.example or 'MODEL'}."
        raise Problem(f"'{reference}' names a provider, but no model.", hint=hint, code=USAGE)
    if not slash:
        raise Problem(f"'{reference}' does not say whose model it is.", hint=EXAMPLE, code=USAGE)
    check_provider(provider, hint="A server of your own: set base_url in the agent's agent.yaml.")


def check_provider(provider: str, *, hint: str) -> None:
    """Raises Problem for one that neither Perdure nor pydantic-ai knows. `hint`: what to do about one
    that is meant so."""
    from perdure.models import longtail
    from perdure.models.providers import find, nearest

    if find(provider) is not None or longtail.knows(provider):
        return
    near = nearest(provider)
    said = f"Did you mean {near}?\n{hint}" if near else hint
    raise Problem(f"there is no provider '{provider}'.", hint=said, code=USAGE)
