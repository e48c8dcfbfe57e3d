"""Walls: what stands between a command and the rest of the machine, as the kernel is asked for it.

Here belongs what happens between the supervisor's fork and the command's first instruction: namespaces,
mounts, the filter of system calls, file rules, limits; and nothing that decides what a command may see:
that is the plan, which `perdure.sandbox.planning` makes and these modules carry out. On the standard
library alone, and importable without the rest of Perdure: the supervisor is an isolated interpreter.
"""
