"""Run the command line of `icpc_d2.tools.prepare`."""

from icpc_d2.tools.prepare.command import main

raise SystemExit(main())
