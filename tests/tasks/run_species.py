"""`python run_species.py TOY FOLDER CASE...`, alone or under torchrun: one training per case.

A case is CHUNK:OBJECTIVE,OBJECTIVE; its weights go to FOLDER/CASE/weights.pt.
"""

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from species_toy import Toy, weights_of

from genomelm_utils.tasks.species_training import Phase

if __name__ == "__main__":
    torch.set_num_threads(1)
    toy, losses, world = Toy(Path(sys.argv[1])), {}, 1
    for case in sys.argv[3:]:
        chunk_pairs, objectives = case.split(":")
        folder, model = Path(sys.argv[2], case), toy.model()
        phases = [Phase(objective, 3) for objective in objectives.split(",")]
        trained = toy.train(model, folder, chunk_pairs=int(chunk_pairs), phases=phases)
        several = torch.distributed.is_initialized()
        world = torch.distributed.get_world_size() if several else 1
        if not several or torch.distributed.get_rank() == 0:
            torch.save(weights_of(model), folder / "weights.pt")
            rows = trained.history.dropna(subset=["train_loss"])
            losses[case] = rows["train_loss"].tolist()
    first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if first:
        print(json.dumps({"world_size": world, "losses": losses}))
