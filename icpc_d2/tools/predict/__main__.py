"""Run the command line of `icpc_d2.tools.predict`."""

import sys

from icpc_d2.tools.predict.command import main

sys.exit(main())
