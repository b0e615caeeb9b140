"""Run the command line of `icpc_d2.tools.export`."""

from icpc_d2.tools.export.command import main

raise SystemExit(main())
