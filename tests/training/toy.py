"""A tiny BERT, seeded batches and a task, for tests of the loop; no masking, no corpus."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from genomelm_utils.models.presets import build_masked_lm


class ToyTask(nn.Module):
    """Predict the input at the given positions; dropout makes the random state visible."""

    def __init__(self, dropout: float = 0.1, seed: int = 0) -> None:
        super().__init__()
        self.model = build_masked_lm(
            "micro",
            3,
            seed,
            num_hidden_layers=1,
            initializer_range=0.02,  # BERT's: the 1e-5 of the comparisons is relative to it
            hidden_size=16,
            num_attention_heads=2,
            intermediate_size=32,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        self.scale = nn.Parameter(torch.ones(()))  # outside the model: must survive a resume

    def forward(self, input_ids, positions, targets):
        logits = self.model(input_ids=input_ids).logits.flatten(0, 1)[positions] * self.scale
        return F.cross_entropy(logits, targets, reduction="sum"), len(targets)


class ToyBatches:
    """Pure function of (step, micro); micro-batches differ in their number of targets."""

    def __init__(self, empty_steps: tuple[int, ...] = ()) -> None:
        self.empty_steps = empty_steps

    def __call__(self, step: int, micro: int) -> dict:
        rng = np.random.default_rng([7, step, micro])
        ids = torch.from_numpy(rng.integers(5, 69, size=(3, 12)))
        n = 0 if step in self.empty_steps else int(rng.integers(1, 20))
        positions = torch.from_numpy(rng.choice(36, size=n, replace=False))
        return {
            "input_ids": ids,
            "positions": positions,
            "targets": ids.flatten()[positions],
            "n_targets": n,
        }


def evaluate(task: nn.Module) -> dict[str, float]:
    """Loss on one fixed batch."""
    batch = ToyBatches()(10_000, 0)
    batch = {k: v.to(task.scale.device) for k, v in batch.items() if torch.is_tensor(v)}
    loss, n = task(**batch)
    return {"loss": float(loss) / n}


SETTINGS = {"steps": 8, "peak_lr": 1e-2, "micro_batches": 3, "warmup_steps": 2, "seed": 3}
