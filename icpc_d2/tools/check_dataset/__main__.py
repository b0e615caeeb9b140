"""Run the command line of `icpc_d2.tools.check_dataset`."""

import sys

from icpc_d2.tools.check_dataset.command import main

sys.exit(main())
