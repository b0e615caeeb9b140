"""Run the command line of `icpc_d2.tools.app`."""

from icpc_d2.tools.app.command import main

raise SystemExit(main())
