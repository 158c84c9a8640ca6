"""Masked-LM pretraining: tokens per second, and the share of time outside forward and backward.

    python benchmarks/bench_pretraining.py [--device cpu|cuda|all] [--steps 12] [--rounds 2]

The same model, rows, optimiser and number of threads go through our loop and through the Hugging
Face `Trainer` with `DataCollatorForLanguageModeling` (15 % of the tokens), rounds interleaved. Ours
makes its rows and masks while training; the peer's rows are tokenised beforehand. Time runs from
the end of the first step (which holds start-up) to the end of the last.

On CUDA: `dnabert6` with rows of 512 ids in bf16, and the model's arithmetic as a share of the rate
that the same card reaches in a plain 8192 x 8192 x 8192 bf16 matrix product timed in the same run.
"""

import argparse
import gc
import tempfile
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from machine import write_result
from transformers import (
    BertConfig,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from genomelm_utils.models.presets import build_masked_lm, count_parameters
from genomelm_utils.pretraining.corpus import CropCorpus
from genomelm_utils.pretraining.mlm import MaskedLMTask, mlm_batches
from genomelm_utils.tokenizers.kmer import build_tokenizer, encode_sequences
from genomelm_utils.training.history import overhead_share
from genomelm_utils.training.loop import fit

K = 6
ADAM = {"weight_decay": 0.01, "betas": (0.9, 0.98), "eps": 1e-6}  # Source: GeneMask's Script-A
PEAK_LR = 8e-4  # Source: GeneMask's Script-A
CENTRE_PROB = 0.025  # Source: DNABERT; masks 14 % of the tokens by the contiguous scheme
PEER_MASKED = 0.15  # Source: BERT; the collator's default
GENOME_BASES = 5_000_000
FULL_BASES = 515  # 510 6-mers and two special tokens: 512 ids
MATMUL = 8192


class FullRows:
    """Rows of exactly 512 ids, as dense as DNABERT's positions allow; made once, drawn by step."""

    def __init__(self, n_rows: int) -> None:
        codes = np.random.default_rng(0).integers(0, 4, (n_rows, FULL_BASES), dtype=np.uint8)
        self.ids_BL, self.lengths_B = encode_sequences(codes, K)

    def batch(self, step: int, micro: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.arange(step * rows, (step + 1) * rows) % len(self.lengths_B)
        return self.ids_BL[chosen], self.lengths_B[chosen]


def make_crops() -> CropCorpus:
    """Crops as they come in pretraining: half of them full, the others of any length."""
    codes = np.random.default_rng(0).integers(0, 4, GENOME_BASES, dtype=np.uint8)
    store = SimpleNamespace(codes=codes, runs=np.array([[0, codes.size]]))
    return CropCorpus([store], k=K, seed=0)


def run_ours(
    corpus: Any, preset: str, steps: int, rows: int, micro_batches: int, compile_model: bool
) -> dict[str, float]:
    """Tokens per second and overhead share of our loop; a history row per step on a CPU only."""
    batches = mlm_batches(
        corpus,
        k=K,
        scheme="contiguous",
        centre_prob=CENTRE_PROB,
        rows_per_step=rows,
        micro_batches=micro_batches,
        steps=steps,
        seed=0,
    )
    task = MaskedLMTask(build_masked_lm(preset, K, seed=0))
    on_gpu = torch.cuda.is_available()
    result = fit(
        task,
        batches,
        steps=steps,
        micro_batches=micro_batches,
        peak_lr=PEAK_LR,
        log_every=max(1, steps // 4) if on_gpu else 1,
        compile_model=compile_model,
        progress=False,
        **ADAM,
    )
    rest = result.history.iloc[1:]
    wall_s = result.history["wall_s"].iloc[-1] - result.history["wall_s"].iloc[0]
    return {
        "tokens_per_s": float(rest["n_tokens"].sum() / wall_s),
        "share_outside_forward_backward": overhead_share(result.history),
        "targets_per_token": float(rest["n_targets"].sum() / rest["n_tokens"].sum()),
    }


class StepTimes(TrainerCallback):
    """When each optimiser step of the peer ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


class TimedTrainer(Trainer):
    """The Trainer, with the time inside its forward and backward summed up (CPU only)."""

    inside_s: tuple[float, ...] = ()

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        started = time.perf_counter()
        loss = super().training_step(*args, **kwargs)
        self.inside_s = (*self.inside_s, time.perf_counter() - started)
        return loss


def run_trainer(
    corpus: Any, preset: str, steps: int, rows: int, micro_batches: int, compile_model: bool
) -> dict[str, float]:
    """The same through the Hugging Face Trainer, defaults but for what must be equal."""
    ids_BL, lengths_B = corpus.batch(0, 0, rows * steps)
    data = [
        {"input_ids": row[:n].tolist()} for row, n in zip(ids_BL, lengths_B.tolist(), strict=True)
    ]
    on_gpu, times = torch.cuda.is_available(), StepTimes()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=rows // micro_batches,
            gradient_accumulation_steps=micro_batches,
            learning_rate=PEAK_LR,
            adam_beta1=ADAM["betas"][0],
            adam_beta2=ADAM["betas"][1],
            adam_epsilon=ADAM["eps"],
            weight_decay=ADAM["weight_decay"],
            bf16=on_gpu,
            torch_compile=compile_model,
            save_strategy="no",
            logging_steps=steps,
            report_to=[],
            disable_tqdm=True,
        )
        trainer = TimedTrainer(
            model=build_masked_lm(preset, K, seed=0),
            args=arguments,
            train_dataset=data,
            data_collator=DataCollatorForLanguageModeling(
                build_tokenizer(K), mlm_probability=PEER_MASKED
            ),
            callbacks=[times],
        )
        trainer.train()
    wall_s = times.ends[-1] - times.ends[0]
    # the sampler shuffles the rows; their mean length stands for those of the timed steps
    n_tokens = float(lengths_B.sum()) * (steps - 1) / steps
    inside_s = sum(trainer.inside_s[micro_batches:])
    return {
        "tokens_per_s": n_tokens / wall_s,
        "share_outside_forward_backward": float("nan") if on_gpu else 1 - inside_s / wall_s,
        "targets_per_token": PEER_MASKED,
    }


def measure(
    corpus: Any, preset: str, *, steps: int, rounds: int, rows: int, micro: int, compiled: bool
) -> list[dict[str, Any]]:
    """Rounds of ours and the peer in turn; the fastest round of each, and all of them."""
    runs: dict[str, list[dict[str, float]]] = {"genomelm": [], "Trainer": []}
    for _ in range(rounds):
        for name, run in (("genomelm", run_ours), ("Trainer", run_trainer)):
            if torch.cuda.is_available():
                gc.collect()
                torch.cuda.reset_peak_memory_stats()
            one = run(corpus, preset, steps, rows, micro, compiled)
            if torch.cuda.is_available():
                one["peak_gpu_gib"] = torch.cuda.max_memory_allocated() / 2**30
            runs[name].append(one)
            print(preset, f"compile={compiled}", name, runs[name][-1], flush=True)
    return [
        {
            "what": f"{preset} {name}",
            "compile": compiled,
            "rows_per_step": rows,
            "micro_batches": micro,
            "steps": steps,
            "threads": torch.get_num_threads(),
            **max(done, key=lambda one: one["tokens_per_s"]),
            "tokens_per_s_of_all_rounds": [round(one["tokens_per_s"]) for one in done],
        }
        for name, done in runs.items()
    ]


def flop_per_token(config: BertConfig, n_ids: int, targets_per_token: float) -> float:
    """Forward and backward, matrix products only: 6 per weight, and 12 x width x ids for attention.

    The head counts at the masked tokens only. Source: Kaplan et al. 2020 (arXiv:2001.08361) 2.1;
    Chowdhery et al. 2022 (arXiv:2204.02311) appendix B, for the attention term.
    """
    width, vocabulary = config.hidden_size, config.vocab_size
    one_layer = count_parameters(config) - count_parameters(_with_one_layer_less(config))
    head = (width * width + width * vocabulary) * targets_per_token
    attention = 12 * width * n_ids * config.num_hidden_layers
    return 6 * (one_layer * config.num_hidden_layers + head) + attention


def _with_one_layer_less(config: BertConfig) -> BertConfig:
    fields = {**config.to_dict(), "num_hidden_layers": config.num_hidden_layers - 1}
    return BertConfig(**fields)


def measure_matmul(repeats: int = 50) -> float:
    """The card's bf16 rate in FLOP/s, on a square product large enough to fill it."""
    left, right = (
        torch.randn(MATMUL, MATMUL, device="cuda", dtype=torch.bfloat16) for _ in range(2)
    )
    for _ in range(10):
        left @ right
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(repeats):
        left @ right
    end.record()
    torch.cuda.synchronize()
    return repeats * 2 * MATMUL**3 / (start.elapsed_time(end) / 1000)


def bench_cpu(steps: int, rounds: int) -> None:
    """Small presets on crops of mixed length, as in pretraining on a CPU."""
    corpus, rows = make_crops(), []
    for preset in ("mini", "genemask-logo"):
        rows += measure(
            corpus, preset, steps=steps, rounds=rounds, rows=32, micro=4, compiled=False
        )
    print(write_result("pretraining_cpu", rows))


def bench_cuda(steps: int, rounds: int) -> None:
    """`dnabert6` at 512 ids in bf16, plain and compiled, with its share of the matrix rate."""
    corpus, rows = FullRows(4096), []
    config = build_masked_lm("dnabert6", K).config
    for compiled in (False, True):
        peak = measure_matmul()
        for row in measure(
            corpus, "dnabert6", steps=steps, rounds=rounds, rows=256, micro=4, compiled=compiled
        ):
            flop = flop_per_token(config, FULL_BASES - K + 3, row["targets_per_token"])
            row |= {
                "matmul_tflops": peak / 1e12,
                "model_tflops": flop * row["tokens_per_s"] / 1e12,
                "model_share_of_matmul": flop * row["tokens_per_s"] / peak,
            }
            rows.append(row)
            print(row, flush=True)
    print(write_result("pretraining_cuda", rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("all", "cpu", "cuda"), default="all")
    parser.add_argument("--steps", type=int, default=None, help="per run; 12 on a CPU, 40 on CUDA")
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    if torch.cuda.is_available():
        if args.device == "cpu":
            parser.error("on a CUDA machine hide the card for this: CUDA_VISIBLE_DEVICES=''")
        bench_cuda(args.steps or 40, args.rounds)
    elif args.device == "cuda":
        parser.error("no CUDA device here")
    else:
        print("no CUDA device: CPU only")
        bench_cpu(args.steps or 12, args.rounds)


if __name__ == "__main__":
    main()
