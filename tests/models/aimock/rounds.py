"""Turns that every protocol is put through."""

from __future__ import annotations

from typing import Any

READS = [
    {"id": "call_a", "name": "read", "arguments": '{"path":"a.txt"}'},
    {"id": "call_b", "name": "read", "arguments": '{"path":"b.txt"}'},
]
ROUNDS: list[dict[str, Any]] = [
    {
        "match": {"userMessage": "tidy", "turnIndex": 0},
        "response": {
            "content": "Let me look.",
            "reasoning": "What is there?",
            "toolCalls": READS,
        },
    },
    {
        "match": {"userMessage": "tidy", "turnIndex": 1, "toolResultContains": "bytes"},
        "response": {
            "reasoning": "One more.",
            "toolCalls": [{"id": "call_c", "name": "read", "arguments": "{}"}],
        },
    },
    {
        "match": {"userMessage": "tidy", "turnIndex": 2},
        "response": {
            "content": "All tidy. Grüße 👋",
            "usage": {
                "prompt_tokens": 30,
                "completion_tokens": 5,
                "total_tokens": 35,
                "input_tokens": 30,
                "output_tokens": 5,
                "promptTokenCount": 30,
                "candidatesTokenCount": 5,
                "totalTokenCount": 35,
            },
        },
    },
    {
        "match": {"userMessage": "hurry"},
        "response": {
            "error": {"message": "Slow down.", "type": "rate_limit_error"},
            "status": 429,
            "retryAfter": 7,
        },
    },
    {
        "match": {"userMessage": "break"},
        "response": {"error": {"message": "Broken.", "type": "api_error"}, "status": 500},
    },
    {
        "match": {"userMessage": "crowd"},
        "response": {"error": {"message": "Overloaded", "type": "overloaded_error"}, "status": 529},
    },
    {
        "match": {"userMessage": "cut"},
        "response": {"content": "A long answer of which only the beginning arrives. " * 8},
        "latency": 5,
        "chunkSize": 10,
        "truncateAfterChunks": 6,
    },
]
