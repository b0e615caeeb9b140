"""Run the command line of `icpc_d2.tools.prepare`."""

import sys

from icpc_d2.tools.prepare.command import main

sys.exit(main())
