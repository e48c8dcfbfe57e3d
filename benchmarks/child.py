"""`python -m benchmarks.child MODULE FUNCTION JSON`: run it here, print what it returns as one line."""

from __future__ import annotations

import sys


def main() -> None:
    import inspect
    import json
    import os
    from importlib import import_module

    # Whatever a library prints must not come between.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, function, arguments = sys.argv[1:]
    result = getattr(import_module(f"benchmarks.{module}"), function)(**json.loads(arguments))
    if inspect.iscoroutine(result):
        import asyncio

        result = asyncio.new_event_loop().run_until_complete(result)
    out.write(json.dumps(result) + "\n")
    out.flush()
    # What was left half done, in threads too, is not waited for.
    os._exit(0)


if __name__ == "__main__":
    main()
