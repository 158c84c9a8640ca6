"""Attention with ALiBi on a CPU: heads that stop at their reach, against all heads over everything.

    python benchmarks/bench_locality.py [--lengths 1024 2124 4248] [--scales 1 2 4] [--rounds 2]

The published shape: width 768, 12 heads. Queries, keys and values come from random weights as large
as the published initialisation times the scale (queries and keys), on normalised states: the
larger the scale, the larger the scores and the longer the reach. "layer" adds the dense layers
around the attention, so its ratio is that of a whole encoder. The largest difference is printed;
beyond 1e-4 the run ends. Rounds are interleaved, the shortest time of each way counts.
"""

import argparse

import numpy as np
import torch
from bench_embedding import time_ways
from machine import write_result

from genomelm_utils.models import alibi_locality
from genomelm_utils.models.alibi_attention import alibi_slopes, pack_lengths
from genomelm_utils.models.alibi_config import alibi_config
from genomelm_utils.models.alibi_layers import AlibiLayer
from genomelm_utils.models.alibi_locality import attend_equal, attend_whole, measure_reach

TOLERANCE = 1e-4


def make_layer(scale: float) -> AlibiLayer:
    """One layer of DNABERT-S's shape; the weights of queries and keys `scale` times the usual."""
    torch.manual_seed(0)
    config = alibi_config("dnabert-s")
    layer = AlibiLayer(config).eval()
    for name, weight in layer.named_parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=config.initializer_range)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(weight)
    with torch.no_grad():
        layer.attention.self.Wqkv.weight[: 2 * config.hidden_size] *= scale
    return layer


def run_layer(layer: AlibiLayer, states_SD: torch.Tensor, slopes_H: torch.Tensor, whole: bool):
    """The layer with or without bands."""
    before = alibi_locality.LOCAL_FROM
    alibi_locality.LOCAL_FROM = float("inf") if whole else before
    try:
        packing = pack_lengths([len(states_SD)], len(states_SD), torch.device("cpu"))
        return layer(states_SD, packing, slopes_H).numpy()
    finally:
        alibi_locality.LOCAL_FROM = before


def measure(length: int, scale: float, rounds: int) -> dict[str, float]:
    """Times of both ways for one sequence."""
    slopes_H = torch.tensor(alibi_slopes(12))
    layer = make_layer(scale)
    states_SD = torch.nn.functional.layer_norm(torch.randn(length, 768), (768,))
    with torch.inference_mode():
        qkv = layer.attention.self.Wqkv(states_SD).unflatten(-1, (3, 12, 64))[None]
        ways = {
            "local": lambda: attend_equal(qkv, slopes_H).numpy(),
            "whole": lambda: attend_whole(qkv, slopes_H).flatten(2).numpy(),
            "local layer": lambda: run_layer(layer, states_SD, slopes_H, whole=False),
            "whole layer": lambda: run_layer(layer, states_SD, slopes_H, whole=True),
        }
        times, results = time_ways(ways, rounds)
        reach_H = measure_reach(*qkv.unbind(2)[:2], slopes_H).tolist()
    apart = max(
        float(np.abs(results["local" + at] - results["whole" + at]).max()) for at in ("", " layer")
    )
    if apart > TOLERANCE:
        raise SystemExit(f"{length} tokens, scale {scale}: the ways differ by {apart:.1e}")
    best = {name: min(spent) for name, spent in times.items()}
    shares = [alibi_locality.band_share(length, reach) for reach in reach_H]
    return {
        "tokens": length,
        "scale": scale,
        "heads_in_bands": sum(share <= alibi_locality.BAND_SHARE for share in shares),
        "scores_computed": round(
            sum(s if s <= alibi_locality.BAND_SHARE else 1 for s in shares) / len(shares), 3
        ),
        "attention_faster": round(best["whole"] / best["local"], 2),
        "layer_faster": round(best["whole layer"] / best["local layer"], 2),
        "largest_difference": apart,
        **{f"{name.replace(' ', '_')}_s": round(spent, 4) for name, spent in best.items()},
        "reach_tokens": reach_H,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[1024, 2124, 4248])
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 2.0, 4.0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for scale in args.scales:
        for length in args.lengths:
            rows.append(measure(length, scale, args.rounds) | {"threads": args.threads})
            print(*(f"{k} {v}" for k, v in rows[-1].items() if k != "reach_tokens"), sep="  ")
    print(write_result("locality_cpu", rows))


if __name__ == "__main__":
    main()
