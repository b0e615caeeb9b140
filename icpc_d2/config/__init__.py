"""The configuration: its keys, the files, and the strict reader."""

from icpc_d2.config.keys import add_icpc_config
from icpc_d2.config.load import ConfigError, get_config_file, load_config

__all__ = ["ConfigError", "add_icpc_config", "get_config_file", "load_config"]
