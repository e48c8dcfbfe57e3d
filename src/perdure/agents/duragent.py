"""Reads an agent.yaml of Duragent (`duragent/v1alpha1`) as ours.

Source of the format: giosakti/duragent v0.5.4. What has no effect here is taken out and named in a
warning, so that a file can be moved over unchanged and its owner still learns what does not act.
"""

from __future__ import annotations

from perdure.kernel.events import Json

from .config import DURAGENT, ContextSettings, MemorySettings, OneModel
from .document import Document

_KEPT = ("model", "soul", "system_prompt", "instructions")


def translate(document: Document) -> tuple[Document, tuple[str, ...]]:
    """The same document in our terms, and warnings. Documents of ours pass unchanged."""
    if document.value.get("apiVersion") != DURAGENT:
        return document, ()
    return _Translation(document).run()


class _Translation:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._warnings: list[str] = []

    def run(self) -> tuple[Document, tuple[str, ...]]:
        source = self._document.value
        spec = _mapping(source.get("spec"))
        out: dict[str, Json] = {k: spec.pop(k) for k in _KEPT if k in spec}
        context: dict[str, Json] = {}
        session = _mapping(spec.pop("session", None))
        out["budget"] = {"rounds": session.pop("max_tool_iterations", 10)}
        if model := _mapping(out.get("model")):
            if "max_input_tokens" in model:
                context["window"] = model.pop("max_input_tokens")
            if "llm_timeout_seconds" in session:
                model["timeout_seconds"] = session.pop("llm_timeout_seconds")
            self._drop(model, OneModel.model_fields.keys(), "spec.model")
            out["model"] = model
        limits = _mapping(session.pop("context", None))
        if "max_tool_result_tokens" in limits:
            context["max_result_tokens"] = limits.pop("max_tool_result_tokens")
        if "tool_result_keep_last" in limits:
            context["keep_results"] = limits.pop("tool_result_keep_last")
        memory = _mapping(spec.pop("memory", None))
        self._drop(memory, MemorySettings.model_fields.keys(), "spec.memory")
        out["context"] = {k: v for k, v in context.items() if k in ContextSettings.model_fields}
        self._drop(limits, (), "spec.session.context")
        self._drop(session, (), "spec.session")
        self._drop(spec, (), "spec")
        value: dict[str, Json] = {
            "apiVersion": DURAGENT,
            "kind": source.get("kind"),
            "metadata": source.get("metadata", {}),
            "spec": {**out, "memory": memory},
        }
        return Document(self._document.file, value, self._document.lines), tuple(self._warnings)

    def _drop(self, given: dict[str, Json], known: object, name: str) -> None:
        names = set(known) if isinstance(known, tuple | type({}.keys())) else set()
        for key in [k for k in given if k not in names]:
            del given[key]
            line = self._document.line((*name.split("."), key))
            self._warnings.append(
                f"{self._document.file}:{line}: `{name}.{key}` has no effect here"
            )


def _mapping(value: Json) -> dict[str, Json]:
    return dict(value) if isinstance(value, dict) else {}
