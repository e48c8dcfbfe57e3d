"""Measures what the design promises, against peers and bare floors in the same run.

Belongs here: the local model server, the scenarios, one driver per contestant, the table. Each
measurement runs in a process of its own and counts that process' CPU time, all threads, because wall
time on a shared machine says little. What does not belong here: anything the product needs, and
assertions (tests hold the budgets that must not break).

`python -m benchmarks [ROW…] [--quick] [--json FILE] [--write-docs]`
"""
