"""The former name of `icpc_d2.tools.predict`: ``python -m icpc_d2.tools.demo`` goes on working."""

from icpc_d2.tools.predict.command import main

if __name__ == "__main__":
    raise SystemExit(main())
