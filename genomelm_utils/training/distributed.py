"""Several processes as one: who computes which micro-batch, and sums over all of them."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator


def open_accelerator() -> "Accelerator":
    """Hugging Face Accelerate's view of this process: device, rank, number of processes.

    Under `torchrun` or `accelerate launch` it joins the others (NCCL on GPUs, Gloo on CPUs).
    Mixed precision is left to `training.device.autocast`, because Accelerate would patch the
    caller's model and fix one precision for the life of the process.
    Raises: RuntimeError when several processes were started but do not see each other.
    """
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    started = int(os.environ.get("WORLD_SIZE", "1"))
    accelerator = Accelerator(
        # without this word Accelerate lets every process of a CPU run train alone
        cpu=started > 1 and not torch.cuda.is_available(),
        mixed_precision="no",
        kwargs_handlers=[
            DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
        ],
    )
    if accelerator.num_processes != started:
        raise RuntimeError(
            f"WORLD_SIZE says that {started} processes were started, Accelerate sees "
            f"{accelerator.num_processes}; start them with torchrun, and before any other use of "
            "Accelerate in the script"
        )
    return accelerator


def own_micro_batches(micro_batches: int, rank: int, world: int) -> list[int]:
    """The micro-batches of a step that process `rank` computes: every `world`-th.

    Raises: ValueError when some process would have none.
    """
    if micro_batches < world:
        raise ValueError(
            f"micro_batches is {micro_batches}, expected at least one for each of the {world} "
            "processes; raise micro_batches or start fewer processes"
        )
    return list(range(rank, micro_batches, world))


def sum_over_processes(accelerator: "Accelerator", values: Sequence[float]) -> list[float]:
    """Element-wise sum of a short list of numbers over all processes, exact for integers."""
    if accelerator.num_processes == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64, device=accelerator.device)
    return accelerator.reduce(tensor, "sum").tolist()


def share_from_main(accelerator: "Accelerator", value: Any) -> Any:
    """The main process's value, in every process."""
    if accelerator.num_processes == 1:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]
