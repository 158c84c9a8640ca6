"""The next step's micro-batches, made by one background thread while this step computes."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

#: CPU tensors by argument name of the task, plus the integer `n_targets` (and maybe `n_tokens`).
Batch = dict[str, Any]
#: (step, micro) -> Batch: a pure function of its arguments, so that resuming is exact.
BatchFunction = Callable[[int, int], Batch]


class Prefetcher:
    """Micro-batches step by step, always one step ahead.

    Args:
        batches: pure function of (step, micro).
        micros: the micro-batches of this process.
        stop: no step from here on is prepared.
        pin: copy into page-locked memory, from which a GPU can read while it computes.
    """

    def __init__(
        self, batches: BatchFunction, micros: Sequence[int], stop: int, *, pin: bool = False
    ) -> None:
        self.batches, self.micros, self.stop, self.pin = batches, micros, stop, pin
        # a new thread starts on GPU 0, where page-locking would open a context for every process
        self.pool = ThreadPoolExecutor(
            max_workers=1,
            thread_name_prefix="genomelm-batches",
            initializer=torch.cuda.set_device if pin else None,
            initargs=(torch.cuda.current_device(),) if pin else (),
        )
        self.ahead: tuple[int, Future[list[Batch]]] | None = None

    def _make(self, step: int) -> list[Batch]:
        made = [dict(self.batches(step, micro)) for micro in self.micros]
        return [pin_batch(batch) for batch in made] if self.pin else made

    def peek(self, step: int) -> list[Batch]:
        """This process's micro-batches of `step`; an error in the thread is raised here."""
        if self.ahead is None or self.ahead[0] != step:
            self.ahead = (step, self.pool.submit(self._make, step))
        return self.ahead[1].result()

    def get(self, step: int) -> list[Batch]:
        """The same, and the thread begins with the step after it."""
        made, following = self.peek(step), step + 1
        self.ahead = (
            (following, self.pool.submit(self._make, following)) if following < self.stop else None
        )
        return made

    def close(self) -> None:
        """End the thread; a batch in the making is finished and thrown away."""
        self.pool.shutdown(wait=True, cancel_futures=True)


def pin_batch(batch: Batch) -> Batch:
    """The batch with its tensors in page-locked memory."""
    return {k: v.pin_memory() if torch.is_tensor(v) else v for k, v in batch.items()}


def split_counts(batch: Batch) -> tuple[dict[str, torch.Tensor], int, int]:
    """(tensors for the task, number of targets, number of tokens) of a micro-batch.

    Without `n_tokens` the tokens are those of `attention_mask`, or all of `input_ids`, or the
    targets. Raises: ValueError without `n_targets`.
    """
    if "n_targets" not in batch:
        raise ValueError(
            f"a batch needs the integer 'n_targets', found only: {', '.join(batch) or 'nothing'}"
        )
    tensors = {k: v for k, v in batch.items() if torch.is_tensor(v)}
    n_targets = int(batch["n_targets"])
    tensors.pop("n_targets", None)
    if "n_tokens" in batch:
        n_tokens = int(batch["n_tokens"])
        tensors.pop("n_tokens", None)
    elif "attention_mask" in tensors:
        n_tokens = int(tensors["attention_mask"].sum())
    else:
        n_tokens = tensors["input_ids"].numel() if "input_ids" in tensors else n_targets
    return tensors, n_targets, n_tokens
