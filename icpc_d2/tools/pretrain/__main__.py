"""Run the command line of `icpc_d2.tools.pretrain`."""

from icpc_d2.tools.pretrain.command import main

raise SystemExit(main())
