"""Training on tasks of promoter activity: share of a step's time that goes into making its batches.

    python benchmarks/bench_activity_loader.py [--steps 20]

Two tasks of random sequences (250 bp, and 200 to 600 bp, which are filled up), one byte per base;
a step is a batch of 96 of each through MTLuciferMini: forward, backward, update. `loader_share` is
the time to make the batches over the time of the step when both run one after the other; training
makes them in a thread of its own, so what is left of it is less. On a CPU seconds are those of the
process, so that a busy machine changes little.
"""

import argparse
import time

import numpy as np
import torch
from machine import write_result

from genomelm_utils.datasets.activity_task import TaskSpec
from genomelm_utils.models.promoter_nets import build_promoter_net
from genomelm_utils.tasks.multitask import MultiTask
from genomelm_utils.tasks.multitask_batches import TaskRows, make_batches
from genomelm_utils.training.device import choose_device

N_ROWS, BATCH = 20_000, 96


def make_rows(rng: np.random.Generator) -> tuple[list[TaskSpec], list[TaskRows]]:
    """Two regressions with random sequences and labels."""
    fixed = list(rng.integers(0, 4, (N_ROWS, 250), dtype=np.uint8))
    lengths = rng.integers(200, 601, N_ROWS)
    varied = [rng.integers(0, 4, n, dtype=np.uint8) for n in lengths]
    specs = [TaskSpec(name, "regression", ("a", "b", "c")) for name in ("fixed", "varied")]
    labels = rng.standard_normal((N_ROWS, 3)).astype(np.float32)
    pairs = zip(specs, (fixed, varied), strict=True)
    return specs, [TaskRows(spec.name, codes, labels, BATCH) for spec, codes in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    specs, rows = make_rows(np.random.default_rng(0))
    batches, _ = make_batches(rows, "min_size", seed=0)
    device, _ = choose_device()
    heads = {spec.name: spec.head_outputs for spec in specs}
    task = MultiTask(build_promoter_net("MTLuciferMini", heads), specs).to(device).train()
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-4)
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    loader_s = compute_s = 0.0
    for step in range(given.steps + 1):
        begin = clock()
        made = batches(step, 0)
        middle = clock()
        tensors = {k: v.to(device) for k, v in made.items() if isinstance(v, torch.Tensor)}
        loss, _ = task(**tensors)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if step:  # the first one warms up
            loader_s += middle - begin
            compute_s += clock() - middle
    share = loader_s / (loader_s + compute_s)
    rate = given.steps * BATCH * len(specs) / loader_s
    result = {
        "network": "MTLuciferMini",
        "steps": given.steps,
        "loader_share": share,
        "loader_sequences_per_s": rate,
        "step_s": (loader_s + compute_s) / given.steps,
    }
    print(write_result("activity_loader", [result]))


if __name__ == "__main__":
    main()
