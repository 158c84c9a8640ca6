"""Embedding contigs of mixed lengths: contigs and bases per second, against padded batches.

    python benchmarks/bench_embedding.py [--preset mini] [--contigs 120] [--rounds 3]
        [--threads 1] [--device cpu]

Aim: twice the padded way on mixed lengths, on a CPU. Same weights, same tokenizer, same numbers
(the largest difference is printed; beyond 1e-5 in float32 the run ends). "padded, given" takes
batches of 20 contigs as they come, "padded, sorted" sorts by bases first, as the reference does;
both pad to the longest of the batch and give every contig a bias of its own. Rounds are
interleaved, the shortest time of each way counts.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from machine import write_result

from genomelm_utils.models.alibi_bert import AlibiBertModel, alibi_config
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.sequences.simulate import simulate_genome
from genomelm_utils.tasks.embedding import TOKEN_BUDGET, WINDOW_BP, embed
from genomelm_utils.tasks.embedding_padded import BATCH_SIZE, ORDERS, embed_padded
from genomelm_utils.tokenizers.bpe import tokenize_codes, train_bpe

VOCAB = 4096
SHORTEST_BP = 500
MEDIAN_BP, SPREAD = 2000, 0.8  # of the log-normal lengths; assemblies have many short contigs
TOLERANCE = {"cpu": 1e-5, "cuda": 1e-1}  # bf16 on CUDA


def draw_contigs(genome: np.ndarray, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Pieces of the genome, log-normal lengths between SHORTEST_BP and WINDOW_BP, mixed order."""
    lengths = rng.lognormal(np.log(MEDIAN_BP), SPREAD, n).clip(SHORTEST_BP, WINDOW_BP).astype(int)
    starts = rng.integers(0, len(genome) - lengths)
    return [genome[start : start + length] for start, length in zip(starts, lengths, strict=True)]


def ids_with_padding(lengths: np.ndarray, order: str) -> int:
    """Ids that batches of BATCH_SIZE rows take, padding included."""
    if order == "sorted":
        lengths = np.sort(lengths)
    batches = [lengths[i : i + BATCH_SIZE] for i in range(0, len(lengths), BATCH_SIZE)]
    return int(sum(len(batch) * batch.max() for batch in batches))


def time_ways(
    ways: dict[str, Callable[[], np.ndarray]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """Wall times in seconds and results of every way, in turns, after one round to warm up."""
    times, results = {name: [] for name in ways}, {}
    for turn in range(rounds + 1):
        for name, work in ways.items():
            start = time.perf_counter()
            results[name] = work()
            if turn:
                times[name].append(time.perf_counter() - start)
    return times, results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--contigs", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--token-budget", type=int, default=None)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    genome = simulate_genome(rng, n_bases=2_000_000).codes
    genome = genome[genome < 4]
    tokenizer = train_bpe((decode(genome[i : i + 1000]) for i in range(0, 10**6, 1000)), VOCAB)
    torch.manual_seed(0)
    model = AlibiBertModel(alibi_config(args.preset, vocab_size=VOCAB)).eval().to(args.device)
    contigs = draw_contigs(genome, args.contigs, rng)
    lengths = np.array([len(ids) for ids in tokenize_codes(tokenizer, contigs)])
    n_bases = sum(len(one) for one in contigs)
    budget = {"token_budget": args.token_budget, "progress": False}
    ways = {"embed": lambda: embed(model, tokenizer, contigs, **budget)}
    for order in ORDERS:
        ways[f"padded, {order}"] = lambda order=order: embed_padded(
            model, tokenizer, contigs, order=order
        )
    times, results = time_ways(ways, args.rounds)
    rows = []
    for name, spent in times.items():
        difference = float(np.abs(results[name] - results["embed"]).max())
        if difference > TOLERANCE[args.device]:
            raise SystemExit(f"{name} differs from embed by {difference:.1e}")
        order = name.removeprefix("padded, ")
        taken = lengths.sum() if name == "embed" else ids_with_padding(lengths, order)
        rows.append(
            {
                "way": name,
                "contigs_per_s": round(len(contigs) / min(spent), 2),
                "bases_per_s": round(n_bases / min(spent)),
                "embed_is_faster": round(min(spent) / min(times["embed"]), 2),
                "wall_s": [round(one, 3) for one in spent],
                "ids_per_real_id": round(float(taken / lengths.sum()), 2),
                "largest_difference": difference,
            }
        )
        print(*(f"{key} {value}" for key, value in rows[-1].items()), sep="  ")
    common = {
        "preset": args.preset,
        "device": args.device,
        "threads": args.threads,
        "contigs": len(contigs),
        "bases": n_bases,
        "ids": int(lengths.sum()),
        "token_budget": args.token_budget or TOKEN_BUDGET[args.device],
    }
    print(write_result(f"embedding_{args.device}", [row | common for row in rows]))


if __name__ == "__main__":
    main()
