"""Run the command line of `icpc_d2.tools.flops`."""

from icpc_d2.tools.flops.command import main

raise SystemExit(main())
