"""The kernel: what a session is and what happens next in it.

Here belongs what every agent needs and every edge shares: the closed union of events (`events`), the
fold (`state`), the next step (`decide`), the loop that performs it (`runner`), the seams (`ports`), the
rules of the inbox, of limits and of retries. It is pure: no files, no network, no clock of its own, and
no third-party import but the event codec. What does not belong here: anything that knows a provider, a
file format, a tool, a policy or a person's terminal.

Reading order for a newcomer: events, state, decide, runner, ports.
"""
