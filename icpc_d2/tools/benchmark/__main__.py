"""Run the command line of `icpc_d2.tools.benchmark`."""

import sys

from icpc_d2.tools.benchmark.command import main

sys.exit(main())
