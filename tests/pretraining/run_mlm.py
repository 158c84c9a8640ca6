"""`python run_mlm.py FOLDER` under torchrun: pretrain a toy; each process notes what it did."""

import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_mlm import RUN, K, RandomCorpus

from genomelm_utils.pretraining import mlm
from genomelm_utils.pretraining.bits import frozen_validation

if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    save = mlm.save_pretrained

    def save_slowly(model, target):
        (folder / f"writes-{torch.distributed.get_rank()}").touch()
        time.sleep(2)  # a process that does not wait is seen to have gone ahead
        save(model, target)

    mlm.save_pretrained = save_slowly
    validation = frozen_validation(RandomCorpus(seed=9), k=K, n_rows=4)
    settings = {**RUN, "steps": 2, "eval_every": 2, "save_every": 2}
    result = mlm.pretrain(RandomCorpus(), validation, folder=folder, **settings)
    rank = torch.distributed.get_rank()
    if (result.final / "model.safetensors").is_file():
        (folder / f"sees-final-{rank}").touch()
    torch.distributed.destroy_process_group()
