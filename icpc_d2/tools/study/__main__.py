"""Run the command line of `icpc_d2.tools.study`."""

import sys

from icpc_d2.tools.study.command import main

sys.exit(main())
