"""Run the command line of `icpc_d2.tools.gpu_report`."""

from icpc_d2.tools.gpu_report.command import main

raise SystemExit(main())
