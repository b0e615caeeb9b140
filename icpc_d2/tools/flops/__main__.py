"""Run the command line of `icpc_d2.tools.flops`."""

import sys

from icpc_d2.tools.flops.command import main

sys.exit(main())
