"""Run the command line of `icpc_d2.tools.config_table`."""

import sys

from icpc_d2.tools.config_table.command import main

sys.exit(main())
