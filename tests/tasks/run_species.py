"""`python run_species.py TOY FOLDER CHUNK OBJECTIVE...`, alone or under torchrun: train."""

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from species_toy import Toy, weights_of

from genomelm_utils.tasks.species_training import Phase

if __name__ == "__main__":
    torch.set_num_threads(1)
    toy, folder, chunk_pairs = Toy(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
    model = toy.model()
    phases = [Phase(objective, 3) for objective in sys.argv[4:]]
    trained = toy.train(model, folder, chunk_pairs=chunk_pairs, phases=phases)
    rank, world = 0, 1
    if torch.distributed.is_initialized():
        rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        torch.distributed.destroy_process_group()
    if rank == 0:
        torch.save(weights_of(model), folder / "weights.pt")
        rows = trained.history.dropna(subset=["train_loss"])
        print(json.dumps({"world_size": world, "losses": rows["train_loss"].tolist()}))
