"""The grammar: tree-sitter-bash, loaded at the first command that needs it."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

_lock = threading.Lock()


@functools.cache
def _parser() -> Parser:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


def tree(source: bytes) -> Node:
    """The root of the syntax tree; positions in it are byte offsets."""
    with _lock:
        return _parser().parse(source).root_node
