"""Drivers for other frameworks, each as its documentation says to use it, persistence on where it has
any. They run in an environment of their own (`environment.py`), never in Perdure's."""
