"""Command-line tools, each run as ``python -m icpc_d2.tools.<name>``."""
