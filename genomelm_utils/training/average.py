"""An exponential moving average of the weights: what is judged and kept in place of the last step.

The average of the last 1 / (1 - decay) updates or so is less noisy than any one of them, which pays
where batches are small. Early on the decay is shorter, or the start would weigh for ever.

Source: Polyak & Juditsky 1992 (averaging of iterates); `tf.train.ExponentialMovingAverage` for the
decay min(decay, (1 + t) / (10 + t)) after t updates.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch


class AveragedWeights:
    """Averages of trainable parameters, float32 or as the parameters are, beside them in memory.

    parameters: those to average. decay: in (0, 1); 0.99 looks back over about 100 updates.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"ema_decay is {decay}, expected 0 (off) or a number in (0, 1)")
        self.decay, self.n_updates = decay, 0
        self.parameters = [p for p in parameters if p.requires_grad]
        self.averages = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after one more update of the optimiser."""
        self.n_updates += 1
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        torch._foreach_lerp_(self.averages, [p.detach() for p in self.parameters], 1 - decay)

    @torch.no_grad()
    def use(self) -> None:
        """Put the averages into the parameters, for good."""
        torch._foreach_copy_([p.detach() for p in self.parameters], self.averages)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the parameters are the averages; afterwards they are as they were."""
        raw = [p.detach().clone() for p in self.parameters]
        self.use()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_([p.detach() for p in self.parameters], raw)

    def state_dict(self) -> dict[str, object]:
        """What a resume needs besides the averages: the weights themselves and the updates made."""
        return {
            "n_updates": self.n_updates,
            "raw": [p.detach().cpu().clone() for p in self.parameters],
        }

    @torch.no_grad()
    def resume(self, state: dict[str, object]) -> None:
        """Go on from a checkpoint: the parameters hold its averages now, `state` its weights."""
        self.n_updates = state["n_updates"]
        torch._foreach_copy_(self.averages, [p.detach() for p in self.parameters])
        for parameter, raw in zip(self.parameters, state["raw"], strict=True):
            parameter.copy_(raw)
