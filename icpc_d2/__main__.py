"""``python -m icpc_d2``: the command ``icpc``, which starts faster by its own name."""

from icpc_cli import main

raise SystemExit(main())
