"""FloraBERT's pretraining: masked language models of promoters, all plants first, then maize.

Letters: S sequences, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from genomelm_utils.models.florabert import (
    FloraBertForMaskedLM,
    build_flora_mlm,
    config_positions,
    flora_config,
    load_florabert,
)
from genomelm_utils.pretraining.shared_masks import (
    BaseJudge,
    SharedTokens,
    shared_baselines,
    shared_bits,
)
from genomelm_utils.pretraining.text_corpus import EpochRows, TokenCorpus
from genomelm_utils.pretraining.token_bits import MASKED_SHARE
from genomelm_utils.tasks.token_mlm import PretrainedTokens, RowBatches, fit_tokens, hash_content
from genomelm_utils.tokenizers.byte_bpe import load_byte_bpe, pad_left, replacement_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


#: FloraBERT's, for `training.loop.fit`: 25 accumulated, rate 1e-4 after 50 steps, then linearly to
#: 0, no decay, clipping at 10, seed 766, with AdamW for its LAMB. Source: the released config.yaml.
#: `pretraining.text_corpus.planned_steps` gives its number of steps. Precision: its own is fp16.
FLORABERT_FIT = {
    "micro_batches": 25,
    "peak_lr": 1e-4,
    "warmup_steps": 50,
    "weight_decay": 0.0,
    "betas": (0.9, 0.999),
    "eps": 1e-6,
    "clip_norm": 10.0,
    "eval_every": 200,
    "save_every": 200,
    "log_every": 50,
    "seed": 766,
    "resume": True,
}


def pretrain_promoters(
    corpus: TokenCorpus,
    validation: Sequence[SharedTokens],
    tokenizer: "PreTrainedTokenizerFast",
    *,
    folder: Path,
    preset: str = "florabert",
    positions: str = "corrected",
    start: Path | None = None,
    random_tokens: str = "corrected",
    mask_share: float = MASKED_SHARE,
    dropout: float = 0.1,
    rows_per_step: int = 1600,
    select: str = "best",
    **options: Any,
) -> PretrainedTokens:
    """Pretrain on the promoters of a corpus; model and tokenizer lie in `folder/final`.

    `AutoTokenizer` and `AutoModelForMaskedLM` of transformers read that folder, and
    `models.florabert.load_florabert`, whose positions are right without further ado. A killed run
    goes on from its newest checkpoint when called again with the same arguments.

    The defaults are those of the released config.yaml: 64 rows x 25 accumulated, and
    `FLORABERT_FIT`; `steps` has none.

    Args:
        corpus: training rows, tokenised with `tokenizer`. validation: of `freeze_shared`, from
            sequences outside the corpus; `bits_per_hidden_base` on them selects the checkpoint
            (the released run selects by its test file).
        preset, positions: of `models.florabert`.
        start: folder of a model to go on from: the second stage; its sizes and positions count.
        random_tokens: of `byte_bpe.replacement_ids`: 'corrected' or 'reference'.
        dropout: of the encoder and its attention.
        select: which weights become `final`: 'best' by validation (published), or 'last'.
        options: of `training.loop.fit`, in place of those of `FLORABERT_FIT`.
    Raises: ValueError when corpus, start and tokenizer have other vocabularies or words, or start
        another preset or positions; as `training.loop.fit`.
    """
    if corpus.vocab_size != len(tokenizer):
        raise ValueError(
            f"the corpus has {corpus.vocab_size} ids, the tokenizer {len(tokenizer)}; expected the "
            "corpus to be made with it"
        )
    options = {**FLORABERT_FIT, **options}
    seed = options["seed"]
    model = _begin(tokenizer, preset, positions, dropout, start, seed)
    judge = BaseJudge(tokenizer)
    batches = RowBatches(
        EpochRows(corpus, rows_per_step, seed),
        pad_left,
        vocab_size=len(tokenizer),
        rows_per_step=rows_per_step,
        micro_batches=options["micro_batches"],
        mask_share=mask_share,
        random_ids_R=replacement_ids(tokenizer, random_tokens),
        seed=seed,
    )
    return fit_tokens(
        model,
        batches,
        tokenizer,
        folder=folder,
        evaluate=lambda task: shared_bits(task.model, validation, judge),
        monitor="bits_per_hidden_base",
        settings={
            "preset": preset,
            "positions": positions,
            "start": None if start is None else _fingerprint(model),
            "random_tokens": random_tokens,
            "mask_share": mask_share,
            "dropout": dropout,
            "rows_per_step": rows_per_step,
            "corpus": f"{len(corpus)} rows, {hash_content(corpus.ids[:4096].tobytes())}",
        },
        select=select,
        **options,
    )


def _begin(
    tokenizer: "PreTrainedTokenizerFast",
    preset: str,
    positions: str,
    dropout: float,
    start: Path | None,
    seed: int,
) -> FloraBertForMaskedLM:
    """Random weights, or those of `start` after a check that they fit."""
    config = flora_config(
        preset,
        vocab_size=len(tokenizer),
        max_tokens=tokenizer.model_max_length,
        positions=positions,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    if start is None:
        return build_flora_mlm(config, seed)
    if load_byte_bpe(start).get_vocab() != tokenizer.get_vocab():
        raise ValueError(
            f"{start} was trained with another tokenizer than the one given; expected the same "
            "ids for the same words: load it with load_byte_bpe(start)"
        )
    model = load_florabert(start, "masked_lm").train()
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    found = {name: getattr(model.config, name) for name in sizes}
    wanted = {name: getattr(config, name) for name in sizes}
    if found != wanted or config_positions(model.config) != config_positions(config):
        raise ValueError(
            f"{start} is of sizes {found} and positions {config_positions(model.config)}, expected "
            f"those of preset {preset!r}, {wanted} and {config_positions(config)}"
        )
    return _build_from(model, config, seed)


def _build_from(model: FloraBertForMaskedLM, config: Any, seed: int) -> FloraBertForMaskedLM:
    """A new model of `config` with the weights of `model`: its dropout may differ."""
    fresh = build_flora_mlm(config, seed)
    fresh.load_state_dict(model.state_dict())
    return fresh


def _fingerprint(model: FloraBertForMaskedLM) -> str:
    """Another start is noticed on resuming."""
    parts = [value.numpy().tobytes() for value in model.state_dict().values()]
    return hash_content(b"".join(parts))


def pretrain_two_stages(
    plants: TokenCorpus,
    maize: TokenCorpus,
    validation: Sequence[SharedTokens],
    tokenizer: "PreTrainedTokenizerFast",
    *,
    folder: Path,
    stages: Mapping[str, Mapping[str, Any]],
    **settings: Any,
) -> tuple[PretrainedTokens, PretrainedTokens]:
    """All plants, then maize from where that ended: `folder/plants/final`, `folder/maize/final`.

    Both are judged on the same `validation`. Source: FloraBERT, stages `language-model` and
    `language-model-finetuned`.

    Args:
        stages: 'plants' and 'maize' -> settings of that stage alone, such as its `steps`.
        settings: of both, as in `pretrain_promoters`.
    Raises: ValueError for another stage's name; as `pretrain_promoters`.
    """
    if unknown := sorted(set(stages) - {"plants", "maize"}):
        raise ValueError(f"stages names {', '.join(unknown)}, expected 'plants' and 'maize' only")
    folder = Path(folder)
    shared = {"validation": validation, "tokenizer": tokenizer, **settings}
    first = pretrain_promoters(
        plants, folder=folder / "plants", **{**shared, **stages.get("plants", {})}
    )
    second = pretrain_promoters(
        maize,
        folder=folder / "maize",
        start=first.final,
        **{**shared, **stages.get("maize", {})},
    )
    return first, second


def tidy_stages(
    stages: Mapping[str, PretrainedTokens],
    corpus: TokenCorpus,
    validation: Sequence[SharedTokens],
    tokenizer: "PreTrainedTokenizerFast",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(curves, table): rows per stage and evaluated step; and the end of each beside baselines.

    The table has `baseline` (stage's name, 'composition', 'frequencies') and
    `bits_per_hidden_base`. corpus: where the baselines count tokens: training rows only.
    """
    judge = BaseJudge(tokenizer)
    curves = pd.concat(
        [stage.fit.history.assign(stage=name) for name, stage in stages.items()],
        ignore_index=True,
    )
    ends = [
        {"baseline": name, **shared_bits(stage.model, validation, judge)}
        for name, stage in stages.items()
    ]
    counts_V = np.asarray(corpus.counts())
    table = pd.concat([pd.DataFrame(ends), shared_baselines(counts_V, validation, judge)])
    return curves, table.reset_index(drop=True)
