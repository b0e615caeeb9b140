"""Run the command line of `icpc_d2.tools.study`."""

from icpc_d2.tools.study.command import main

raise SystemExit(main())
