"""Run the command line of `icpc_d2.tools.visualize`."""

from icpc_d2.tools.visualize.command import main

raise SystemExit(main())
