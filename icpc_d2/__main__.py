"""``python -m icpc_d2``: the command ``icpc``, which starts faster by its own name."""

import sys

from icpc_cli import main

sys.exit(main())
