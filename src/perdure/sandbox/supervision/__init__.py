"""Supervision: the process that stands above a command, and the one that starts such processes.

Here belongs what runs apart from the runtime, so that commands outlive it: the launcher, of which each
runtime has one, the supervisors that it forks, and what a supervisor's child does until it is the command.
What does not belong here: what the runtime does with commands, and the walls themselves. On the standard
library alone, and importable without the rest of Perdure: `script` is run by an isolated interpreter.
"""
