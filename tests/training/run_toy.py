"""`python run_toy.py FOLDER [--slow]`, alone or under torchrun: train the toy, print losses."""

import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from toy import SETTINGS, ToyBatches, ToyTask, evaluate

from genomelm_utils.training.loop import fit

if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, slow = Path(sys.argv[1]), "--slow" in sys.argv
    batches = ToyBatches()

    def slow_batches(step: int, micro: int) -> dict:
        if step >= 5:
            time.sleep(30)
        return batches(step, micro)

    task = ToyTask()
    result = fit(
        task,
        slow_batches if slow else batches,
        **SETTINGS,
        folder=folder,
        evaluate=evaluate,
        eval_every=4,
        save_every=4,
        log_every=1,
        resume=True,
        progress=False,
    )
    rank = 0
    if torch.distributed.is_initialized():
        rank = torch.distributed.get_rank()
        torch.distributed.destroy_process_group()
    weights = torch.cat([p.detach().flatten() for p in task.parameters()])
    if rank == 0:
        torch.save(weights, folder / "weights.pt")
        losses = result.history["train_loss"].dropna().tolist()
        print(json.dumps({"world_size": result.description["world_size"], "losses": losses}))
