"""Promoter networks: sequences per second, and insertion of motifs against a loop over motifs.

    python benchmarks/bench_promoter_nets.py [--device cpu] [--seconds 5] [--names LegNet ...]

Inference and training (forward, backward, fused AdamW) of every backbone of the registry on random
sequences of 250 bp, one byte per base in memory, at the batch size that is given; the best of
rounds that fill `--seconds`. MotifBasedFCN has 100 random motifs.

Insertion: effects (motif and background) per second of `motif_effects`, ten copies of each motif,
against the released script's way: motif after motif, a place and base after base drawn with
`numpy.random.choice`, one-hot codes made on the CPU, and every background predicted anew for each
motif. Both run the same network on the same backgrounds; each is timed on as many motifs as fit in
the time. `draws_per_s` is the making of sequences alone. Before any time is taken, `motif_effects`
and the loop must agree on a motif whose bases are certain.

On a CPU seconds are those of the process (all threads), so that a busy machine changes little.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from machine import write_result

from genomelm_utils.interpretation.motif_insertion import COPIES, motif_effects
from genomelm_utils.models.promoter_blocks import one_hot
from genomelm_utils.models.promoter_nets import BACKBONES, PromoterNet, build_promoter_net
from genomelm_utils.training.device import autocast, choose_device, choose_precision

LENGTH_BP = 250
HEADS = {"Fluorescence": ["JURKAT", "K562", "THP1"]}
#: They need files of others; DNABERTRandomInit is of DNABERT's size.
LEFT_OUT = ("DNABERT", *(name for name in BACKBONES if name.startswith("Enformer")))
INSERTION_NAMES = ("LegNet", "LegNetMini")


def random_motifs(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """n motifs of 6 to 20 positions, as databases have them."""
    widths = rng.integers(6, 21, n)
    return {f"motif{i}": rng.dirichlet(np.ones(4) * 0.3, size=w) for i, w in enumerate(widths)}


def random_codes(n: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 4, (n, LENGTH_BP)).astype("uint8"))


def build(name: str, device: torch.device) -> PromoterNet:
    motifs = random_motifs(100, np.random.default_rng(1)) if name.startswith("Motif") else None
    net = build_promoter_net(name, HEADS, length_bp=LENGTH_BP, motifs=motifs)
    return net.to(device)


def clock(device: torch.device) -> float:
    """Seconds: of the wall when the device works beside the process, else of the process."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def best_rate(task: Callable[[], None], n_rows: int, seconds: float, device: torch.device) -> float:
    """Rows per second of the fastest of the rounds that fit in the time, after one to warm up."""
    task()
    rates, until = [], clock(device) + seconds
    while not rates or clock(device) < until:
        begin = clock(device)
        task()
        rates.append(n_rows / (clock(device) - begin))
    return max(rates)


def measure_network(name: str, batch: int, seconds: float, device: torch.device) -> dict:
    """One row: sequences per second of inference and of training."""
    net, codes = build(name, device), random_codes(batch).to(device)
    precision, _ = choose_precision("auto", device)
    target = torch.zeros((batch, 3), device=device)

    def infer() -> None:
        with torch.inference_mode(), autocast(device, precision):
            net(codes)

    net.eval()
    inference = best_rate(infer, batch, seconds, device)
    net.train()
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], fused=True)

    def train() -> None:
        with autocast(device, precision):
            loss = (net(codes).logits.float() - target).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    training = best_rate(train, batch, seconds, device)
    return {
        "what": "network",
        "backbone": name,
        "parameters": sum(p.numel() for p in net.parameters()),
        "batch": batch,
        "precision": precision,
        "inference_per_s": round(inference, 2),
        "training_per_s": round(training, 2),
    }


class HotNet(torch.nn.Module):
    """The same network for one-hot input, as the loop hands it over."""

    def __init__(self, net: PromoterNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, hot_BL4: torch.Tensor) -> torch.Tensor:
        return self.net(hot_BL4.argmax(-1).to(torch.uint8)).logits


def loop_over_motifs(
    model: HotNet,
    codes_SL: np.ndarray,
    motifs: dict[str, np.ndarray],
    copies: int,
    batch: int,
    device: torch.device,
    seconds: float,
) -> tuple[dict[str, np.ndarray], float]:
    """Effects [S, C] by motif, as far as time allows; seconds spent on making sequences."""
    rng = np.random.RandomState(97)
    hot = np.eye(4, dtype=np.float32)

    def predict(rows_SL: np.ndarray) -> np.ndarray:
        parts = []
        for begin in range(0, len(rows_SL), batch):
            block = torch.from_numpy(hot[rows_SL[begin : begin + batch]]).to(device)
            with torch.no_grad():
                parts.append(model(block).cpu().numpy())
        return np.concatenate(parts)

    found, drawing, until = {}, 0.0, clock(device) + seconds
    for name, matrix_W4 in motifs.items():
        begin = clock(device)
        inserted = codes_SL.copy()
        for row in inserted:
            for _ in range(copies):
                start = rng.randint(0, len(row) - len(matrix_W4))
                for j, shares in enumerate(matrix_W4):
                    row[start + j] = rng.choice(4, p=shares)
        drawing += clock(device) - begin
        found[name] = predict(inserted) - predict(codes_SL)
        if clock(device) > until:
            break
    return found, drawing


def check_agreement(net: PromoterNet, device: torch.device) -> None:
    """The end unless both ways give the same mean effect of motifs whose bases are certain."""
    motifs = {"gata": np.eye(4)[[0, 2, 0, 3, 0, 0, 2, 0]]}
    codes_SL = random_codes(128)
    ours = motif_effects(net, codes_SL.to(device), motifs, copies=1).effects_MSC[0]
    theirs, _ = loop_over_motifs(HotNet(net), codes_SL.numpy(), motifs, 1, 256, device, 1e9)
    gap_C = (ours - theirs["gata"]).mean(0)
    error_C = np.sqrt((ours.var(0) + theirs["gata"].var(0)) / len(ours))
    if (np.abs(gap_C) > 5 * error_C + 1e-6).any():
        raise SystemExit(f"effects differ by {gap_C}, standard error {error_C}: no timing")


def measure_insertion(
    name: str, n_backgrounds: int, seconds: float, batch: int, device: torch.device
) -> dict:
    """One row: effects per second of ours and of the loop, and of drawing alone."""
    net = build(name, device).eval()
    check_agreement(net, device)
    codes_SL = random_codes(n_backgrounds)
    motifs = random_motifs(700, np.random.default_rng(2))
    begin = clock(device)
    found, drawing = loop_over_motifs(
        HotNet(net), codes_SL.numpy(), motifs, COPIES, batch, device, seconds
    )
    loop = len(found) * n_backgrounds / (clock(device) - begin)
    on_device = codes_SL.to(device)
    rates = {}
    for what, model in (("ours", net), ("draw", Silent().to(device))):
        n_motifs = 8  # the backgrounds themselves are predicted once, for all of them
        while True:  # as many motifs as fill the time
            some = dict(list(motifs.items())[:n_motifs])
            begin = clock(device)
            motif_effects(model, on_device, some, copies=COPIES, batch_rows=batch)
            spent = clock(device) - begin
            if spent > seconds / 2 or n_motifs == len(motifs):
                break
            n_motifs = min(len(motifs), max(n_motifs + 1, int(n_motifs * seconds / spent)))
        rates[what] = n_motifs * n_backgrounds / spent
    whole = 700 * 1000 * 5 / rates["ours"]
    return {
        "what": "insertion",
        "backbone": name,
        "backgrounds": n_backgrounds,
        "copies": COPIES,
        "batch": batch,
        "effects_per_s": round(rates["ours"], 1),
        "loop_effects_per_s": round(loop, 1),
        "speedup": round(rates["ours"] / loop, 2),
        "draws_per_s": round(rates["draw"], 1),
        "loop_draws_per_s": round(len(found) * n_backgrounds / drawing, 1),
        "hours_for_700_motifs_1000_backgrounds_5_replicates": round(whole / 3600, 2),
    }


class Silent(torch.nn.Module):
    """Predicts nothing, to time the drawing and writing of motifs alone."""

    def __init__(self) -> None:
        super().__init__()
        self.zero = torch.nn.Parameter(torch.zeros(1))

    def forward(self, codes_BL: torch.Tensor) -> torch.Tensor:
        return self.zero.expand(len(codes_BL), 1)


def measure_hot(seconds: float, device: torch.device) -> dict:
    """One row: one-hot codes per second made on the device from one byte per base."""
    codes = random_codes(4096).to(device)
    rate = best_rate(lambda: one_hot(codes), len(codes), seconds, device)
    return {"what": "one_hot", "sequences_per_s": round(rate)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--batch", type=int, default=0, help="0: 8 on a CPU, 512 on a GPU")
    parser.add_argument("--backgrounds", type=int, default=0, help="0: 64 on a CPU, 1000 on a GPU")
    parser.add_argument("--names", nargs="*", default=[n for n in BACKBONES if n not in LEFT_OUT])
    parser.add_argument("--insertion", nargs="*", default=list(INSERTION_NAMES))
    args = parser.parse_args()
    device, why = choose_device(args.device)
    print(f"device {device} ({why}), {torch.get_num_threads()} threads")
    cuda = device.type == "cuda"
    batch = args.batch or (512 if cuda else 8)
    n_backgrounds = args.backgrounds or (1000 if cuda else 64)
    networks = [measure_hot(min(args.seconds, 2), device)] if args.names else []
    for name in args.names:
        networks.append(measure_network(name, batch, args.seconds, device))
        print(networks[-1], flush=True)
    insertions = []
    for name in args.insertion:
        insertions.append(
            measure_insertion(name, n_backgrounds, args.seconds, 2048 if cuda else 16, device)
        )
        print(insertions[-1], flush=True)
    for result, rows in (("promoter_nets", networks), ("promoter_insertion", insertions)):
        for row in rows:
            row |= {"device": str(device), "threads": torch.get_num_threads()}
        if rows:
            print(write_result(result, rows))


if __name__ == "__main__":
    main()
