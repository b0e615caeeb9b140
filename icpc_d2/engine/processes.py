"""The processes of a run: started here by Detectron2, or elsewhere by torchrun or SLURM."""

import multiprocessing
import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from detectron2.engine import launch as detectron2_launch
from detectron2.engine.launch import DEFAULT_TIMEOUT
from detectron2.utils import comm
from torch import distributed
from torch.multiprocessing import ProcessExitedException

from icpc_d2.engine.hooks.stopping import SIGNALS

# The variables that torchrun sets for each process.
ENVIRONMENT = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def launch(main: Callable[[Namespace], Any], args: Namespace) -> None:
    """Run ``main(args)`` in each process of the run; exit with the code of the first that fails.

    Args:
        args: of Detectron2's command line. ``--num-gpus``, ``--num-machines``, ``--machine-rank`` and ``--dist-url``
            say which processes to start, unless torchrun or the like has started this one.

    Raises:
        ValueError: the environment is incomplete, or contradicts `args` or the machine.
    """
    several = args.num_gpus * args.num_machines > 1
    if "LOCAL_RANK" in os.environ:
        if several:
            raise ValueError(
                f"--num-gpus {args.num_gpus} --num-machines {args.num_machines}: LOCAL_RANK is set, so that torchrun "
                "or the like starts the processes. Tell it how many (--nproc-per-node, --nnodes) and leave these flags "
                "out."
            )
        join_processes()
        main(args)
        distributed.destroy_process_group()
        return
    if not several:
        main(args)
        return
    with _signals_passed_on() as received:
        try:
            detectron2_launch(main, args.num_gpus, args.num_machines, args.machine_rank, args.dist_url, args=(args,))
        except ProcessExitedException as error:
            if received:
                sys.exit(128 + received[0])
            if error.exit_code < 0:  # it was killed
                raise
            sys.exit(error.exit_code)  # it has said why


@contextmanager
def _signals_passed_on() -> Iterator[list[int]]:
    """Pass the signals that end a training on to the processes that this one has started, which save a checkpoint.

    They get SIGTERM in any case: Ctrl-C has reached them by itself, and a second SIGINT would end them at once. Yield
    the numbers of those that have come.
    """
    received: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for process in multiprocessing.active_children():
            process.terminate()

    is_main = threading.current_thread() is threading.main_thread()  # no other thread can
    previous = {number: signal.signal(number, pass_on) for number in SIGNALS if is_main}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def join_processes() -> None:
    """Become one of the processes that the environment describes, on its own GPU if there are any.

    Raises:
        ValueError: a variable is missing, or the machine has fewer GPUs than processes.
    """
    missing = [name for name in ENVIRONMENT if name not in os.environ]
    if missing:
        raise ValueError(
            f"LOCAL_RANK is set, but not {', '.join(missing)}: torchrun sets all of {', '.join(ENVIRONMENT)}; a "
            "scheduler's script has to, as docs/slurm_train.sh does. To start without them, unset LOCAL_RANK."
        )
    local_rank, num_gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if 1 < num_gpus <= local_rank:
        raise ValueError(f"LOCAL_RANK is {local_rank}, but torch finds {num_gpus} GPUs: start one process for each.")
    if num_gpus:
        # A scheduler may show each process its own GPU alone.
        torch.cuda.set_device(local_rank if num_gpus > 1 else 0)
    distributed.init_process_group("nccl" if num_gpus else "gloo", timeout=DEFAULT_TIMEOUT)
    comm.create_local_process_group(int(os.environ["LOCAL_WORLD_SIZE"]))
    comm.synchronize()
