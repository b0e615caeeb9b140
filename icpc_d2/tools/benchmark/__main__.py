"""Run the command line of `icpc_d2.tools.benchmark`."""

from icpc_d2.tools.benchmark.command import main

raise SystemExit(main())
