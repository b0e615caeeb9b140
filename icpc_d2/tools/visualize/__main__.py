"""Run the command line of `icpc_d2.tools.visualize`."""

import sys

from icpc_d2.tools.visualize.command import main

sys.exit(main())
