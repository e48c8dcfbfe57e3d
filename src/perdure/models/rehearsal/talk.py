"""What the rehearsal model says about itself, and the small talk it can hold."""

from __future__ import annotations

from .plan import Plan, only
from .rules import Found, rule
from .view import View
from .words import quote

WHAT_I_AM = (
    "I am the **rehearsal model**: not a language model, but rules that are built into Perdure so that "
    "you can try it without a key. Tools, approvals, sessions and files are the real ones."
)
EXAMPLES = """\
- list the files here · read notes.txt · how many lines in notes.txt
- find TODO in src · find files named *.pdf
- write "buy milk" to list.txt · add a line "and bread" to list.txt · replace milk with tea in list.txt
- make a folder drafts · move list.txt to drafts · delete old.txt
- run `ls -la`
- fetch https://example.org · search the web for roses
- tidy this folder
- remember that I like tea · what do you remember
- what did you do"""
CONNECT = """\
To connect a language model, do one of these and put its name under `model` in `perdure.yaml`:
- `perdure login openrouter` logs in with the browser (hundreds of models, one account)
- `perdure login anthropic`, or set `ANTHROPIC_API_KEY`; likewise `openai`, `gemini`, `groq`, `mistral` …
- run Ollama on this machine and take e.g. `ollama/qwen3`: no key, nothing leaves it"""


def introduction() -> str:
    return f"{WHAT_I_AM}\n\nI understand plain requests such as:\n{EXAMPLES}\n\n{CONNECT}"


def not_understood(text: str, view: View) -> str:
    begin = f"I did not understand {quote(text, 120)}. {WHAT_I_AM}"
    if view.image:
        begin = f"I cannot look at images. {WHAT_I_AM}"
    return f"{begin}\n\nI understand plain requests such as:\n{EXAMPLES}\n\n{CONNECT}"


def _greeting(found: Found, view: View) -> Plan:
    return only(
        f"Hello! {WHAT_I_AM}\n\nTry “list the files here”, “tidy this folder”, “run `ls -la`” or “help”."
    )


def _time(found: Found, view: View) -> Plan:
    now = view.now
    return only(f"It is {now}." if now else "I was not told what time it is. Try “run `date`”.")


def _where(found: Found, view: View) -> Plan:
    place = view.workdir
    return only(f"I work in `{place}`." if place else "I was not told. Try “run `pwd`”.")


RULES = (
    rule(
        r"(?:hi|hello|hey|hallo|good (?:morning|afternoon|evening|day)|greetings|yo|moin)"
        r"(?: (?:there|perdure|you|all))?(?:,? how are you)?",
        _greeting,
        entire=True,
    ),
    rule(
        r"help(?: me)?|what can you (?:do|help(?: me)? with)|how does this work"
        r"|what (?:do|can) i (?:say|do|ask)"
        r"|(?:who|what) are you|are you (?:a|an) .*|which model (?:are you|is this)|commands|\?"
        r"|how (?:do|can) i (?:connect|use|add|set up) .*",
        lambda f, v: only(introduction()),
        entire=True,
    ),
    rule(
        r"(?:thanks|thank you|thx|cheers|great|nice|cool|perfect|good job|well done|wonderful)"
        r"(?: (?:a lot|very much|so much|perdure|you))?",
        lambda f, v: only("You are welcome."),
        entire=True,
    ),
    rule(
        r"(?:bye|goodbye|good night|see you(?: (?:later|soon))?|that(?:'s| is) all)",
        lambda f, v: only("Goodbye. Nothing is lost: `perdure attach` takes up this conversation."),
        entire=True,
    ),
    rule(
        r"what (?:time|day|date)(?: is it)?(?: (?:now|today))?|what(?:'s| is) (?:the|today's) "
        r"(?:time|date|day)|date|which day is it",
        _time,
        entire=True,
    ),
    rule(
        r"where are (?:you|we)|(?:what|which) (?:folder|directory) (?:is this|are (?:you|we) in)",
        _where,
        entire=True,
    ),
    rule(
        r"(?:stop|cancel|never ?mind|forget it|abort|no|nothing)(?: (?:that|it|this|please))?",
        lambda f, v: only("All right."),
        entire=True,
    ),
    rule(
        r"(?:yes|yep|ok|okay|go on|continue|carry on|sure)",
        lambda f, v: only("There is nothing open that I could go on with. Tell me what to do."),
        entire=True,
    ),
    rule(r"(?:say|echo) (?P<text>.+)", lambda f, v: only(f.text("text")), entire=True),
)
"""In the order in which they are tried."""
