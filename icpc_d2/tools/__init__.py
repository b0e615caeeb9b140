"""The commands of ``icpc``, also run as ``python -m icpc_d2.tools.<name>``."""
