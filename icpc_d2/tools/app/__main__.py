"""Run the command line of `icpc_d2.tools.app`."""

import sys

from icpc_d2.tools.app.command import main

sys.exit(main())
