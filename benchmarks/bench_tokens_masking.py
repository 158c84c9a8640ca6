"""k-mer token ids from base codes, corpus batches, and masking: speed on one CPU thread.

    python benchmarks/bench_tokens_masking.py [--bases 50000000] [--rounds 15]

Aims: token ids at least 100 Mbp/s; masking under 20 microseconds per row of 508 ids. The best of
the rounds is kept: other work on the machine only ever adds time. For comparison the same rows are
tokenised from k-mer text by the fast tokenizer, as a text corpus would be.
"""

import argparse
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch
from machine import write_result

from genomelm_utils.pretraining.corpus import CropCorpus
from genomelm_utils.pretraining.masking import CORRUPTIONS, SCHEMES, mask_tokens
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.tokenizers.kmer import (
    build_tokenizer,
    encode_sequences,
    seq2kmer,
    token_ids,
    vocab_size,
)

K = 6
ROWS = 250  # Source: GeneMask's effective batch, 10 sequences x 25 accumulation steps
CENTRE_PROB = 0.0176  # Source: GeneMask's training script
ROW_BASES = 511  # 506 tokens, 508 ids


def best_s(work: Callable[[], object], rounds: int) -> float:
    """The shortest wall time of `work` in seconds, after one warm-up call."""
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def measure_tokens(codes: np.ndarray, rounds: int) -> list[dict]:
    rows = []
    for k in (3, 4, 5, 6):
        wall_s = best_s(lambda k=k: token_ids(codes, k), rounds)
        rows.append({"what": f"token_ids k={k}", "mbp_per_s": round(codes.size / wall_s / 1e6, 1)})
    block = codes[: ROWS * ROW_BASES].reshape(ROWS, ROW_BASES)
    wall_s = best_s(lambda: encode_sequences(block, K), rounds)
    rows.append({"what": "encode_sequences", "mbp_per_s": round(block.size / wall_s / 1e6, 1)})
    tokenizer = build_tokenizer(K)
    texts = [seq2kmer(decode(row), K) for row in block]
    wall_s = best_s(lambda: tokenizer(texts, padding=True, return_tensors="pt"), 3)
    rows.append(
        {"what": "fast tokenizer on text", "mbp_per_s": round(block.size / wall_s / 1e6, 2)}
    )
    return rows


def measure_corpus(codes: np.ndarray, rounds: int) -> list[dict]:
    genome = SimpleNamespace(codes=codes, runs=np.array([[0, codes.size]]))
    corpus = CropCorpus([genome], k=K, seed=0, valid_share=0.05)
    wall_s = best_s(lambda: corpus.batch(0, 0, ROWS), rounds)
    return [{"what": "CropCorpus.batch", "us_per_row": round(wall_s / ROWS * 1e6, 2)}]


def measure_masking(codes: np.ndarray, rounds: int) -> list[dict]:
    generator = torch.Generator().manual_seed(0)
    ranks = torch.randperm(vocab_size(K), generator=generator)
    ids, lengths = encode_sequences(codes[: ROWS * ROW_BASES].reshape(ROWS, ROW_BASES), K)
    rows = []
    for corrupt in CORRUPTIONS:
        for scheme in SCHEMES:

            def mask(scheme=scheme, corrupt=corrupt):
                return mask_tokens(
                    ids,
                    lengths,
                    scheme=scheme,
                    centre_prob=CENTRE_PROB,
                    ranks_V=ranks,
                    generator=generator,
                    corrupt=corrupt,
                )

            wall_s = best_s(mask, rounds)
            rows.append(
                {
                    "what": f"mask_tokens {scheme} {corrupt}",
                    "us_per_row": round(wall_s / ROWS * 1e6, 2),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bases", type=int, default=50_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    codes = np.random.default_rng(0).integers(0, 4, args.bases, dtype=np.uint8)
    rows = []
    for measure in (measure_tokens, measure_corpus, measure_masking):
        for row in measure(codes, args.rounds):
            print(*(f"{value}" for value in row.values()), list(row)[-1])
            rows.append(row)
    common = {"threads": 1, "rows_per_batch": ROWS, "ids_per_row": ROW_BASES - K + 3}
    print(write_result("tokens_masking", [row | common for row in rows]))


if __name__ == "__main__":
    main()
