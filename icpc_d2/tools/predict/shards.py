"""Which of the inputs are this process's own, where several processes share them."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")

# Who starts processes -> the variables that give each its place (from 0), their number, and its place on its machine.
# SLURM's are those of a step: in a batch script outside of srun, one process runs, whatever the job's size.
STARTERS = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "SLURM": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
}


class Shard(NamedTuple):
    """The part of the inputs that a process takes."""

    index: int  # from 0
    count: int
    local_index: int = 0  # on this machine, from 0
    source: str = ""  # who says so

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return every `count`-th of the items."""
        return items[self.index :: self.count]


def find_shard(text: str | None, environment: Mapping[str, str] = os.environ) -> Shard:
    """Return the part of this process: that of the command line, else that of torchrun or SLURM, else all.

    Args:
        text: "2/8" for the second of eight parts.

    Raises:
        ValueError: a part that is none.
    """
    if text is not None:
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise ValueError(f"--shard is {text!r}; wanted is I/N, from 1/N to N/N, such as 2/8.")
        return Shard(int(index) - 1, int(count), source="--shard")
    for starter, names in STARTERS.items():
        if all(environment.get(name, "").isdecimal() for name in names):
            index, count, local_index = (int(environment[name]) for name in names)
            return Shard(index, count, local_index, starter)
    return Shard(0, 1)
