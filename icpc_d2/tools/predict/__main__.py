"""Run the command line of `icpc_d2.tools.predict`."""

from icpc_d2.tools.predict.command import main

raise SystemExit(main())
