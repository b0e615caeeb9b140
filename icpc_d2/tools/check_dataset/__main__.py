"""Run the command line of `icpc_d2.tools.check_dataset`."""

from icpc_d2.tools.check_dataset.command import main

raise SystemExit(main())
