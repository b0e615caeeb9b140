"""Run the command line of `icpc_d2.tools.config_table`."""

from icpc_d2.tools.config_table.command import main

raise SystemExit(main())
