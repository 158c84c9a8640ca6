"""FloraBERT's pretraining: two stages, warm start, resume, switches, what it learns and leaves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, RobertaForMaskedLM

from genomelm_utils.models.florabert import load_florabert
from genomelm_utils.pretraining.shared_masks import draw_hidden, freeze_shared
from genomelm_utils.pretraining.text_corpus import TokenCorpus, tokenize_corpus
from genomelm_utils.tasks.promoter_mlm import (
    pretrain_promoters,
    pretrain_two_stages,
    tidy_stages,
)
from genomelm_utils.tasks.token_mlm import RowBatches
from genomelm_utils.tokenizers.byte_bpe import (
    MASK,
    N_SPECIAL,
    load_byte_bpe,
    pad_left,
    replacement_ids,
    train_byte_bpe,
)


def random_promoters(n: int, seed: int) -> list[str]:
    """Mostly A, always with the same eight bases at the TSS end."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(30, 70, n)
    return ["".join(rng.choice(list("AAACGT"), size)) + "TATAAAGG" for size in lengths]


@pytest.fixture(scope="module")
def tokenizer():
    return train_byte_bpe(random_promoters(60, 0), 5 + 5 + 20, alphabet="dna", max_tokens=64)


@pytest.fixture(scope="module")
def corpora(tokenizer) -> tuple[TokenCorpus, TokenCorpus]:
    return tuple(tokenize_corpus(random_promoters(40, seed), tokenizer) for seed in (1, 2))


@pytest.fixture(scope="module")
def validation(tokenizer):
    texts = random_promoters(12, 3)
    return freeze_shared(texts, draw_hidden(texts, hidden_share=0.2), tokenizer)


SMALL = {
    "preset": "nano",
    "steps": 6,
    "rows_per_step": 8,
    "micro_batches": 2,
    "warmup_steps": 2,
    "peak_lr": 1e-3,
    "eval_every": 3,
    "save_every": 2,
    "precision": "fp32",
    "progress": False,
}


def test_two_stages_warm_start_and_files(tokenizer, corpora, validation, tmp_path: Path) -> None:
    plants, maize = corpora
    stages = {"maize": {"steps": 3, "peak_lr": 0.0}}
    first, second = pretrain_two_stages(
        plants, maize, validation, tokenizer, folder=tmp_path, stages=stages, select="last", **SMALL
    )
    assert (first.fit.step, second.fit.step) == (6, 3)
    assert first.final == tmp_path / "plants" / "final"
    for name, value in first.model.state_dict().items():  # a rate of 0: the start is left
        assert torch.equal(value, second.model.state_dict()[name]), name

    loaded = AutoModelForMaskedLM.from_pretrained(second.final)
    assert type(loaded) is RobertaForMaskedLM
    beside = AutoTokenizer.from_pretrained(second.final)
    assert beside.get_vocab() == tokenizer.get_vocab()
    assert (beside.padding_side, beside.truncation_side) == ("left", "left")
    mine = load_florabert(second.final, "masked_lm")
    for name, value in second.model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
        assert torch.equal(value, mine.state_dict()[name]), name
    again = load_byte_bpe(second.final)
    assert (again.get_vocab(), again.model_max_length) == (tokenizer.get_vocab(), 64)

    curves, table = tidy_stages({"plants": first, "maize": second}, plants, validation, tokenizer)
    assert set(curves["stage"]) == {"plants", "maize"}
    assert {"step", "train_loss", "valid_bits_per_hidden_base"} <= set(curves.columns)
    assert table["baseline"].tolist() == ["plants", "maize", "composition", "frequencies"]
    assert table["bits_per_hidden_base"].notna().all()
    assert len(set(table["bits_per_hidden_base"][:2])) == 1


class Killed(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_a_killed_run_goes_on_to_the_same_weights(
    tokenizer, corpora, validation, tmp_path, monkeypatch, optimizer
) -> None:
    settings = {**SMALL, "optimizer": optimizer}
    whole = pretrain_promoters(
        corpora[0], validation, tokenizer, folder=tmp_path / "whole", **settings
    )

    call = RowBatches.__call__

    def die(self, step: int, micro: int):
        if step == 4:
            raise Killed
        return call(self, step, micro)

    with monkeypatch.context() as patch:
        patch.setattr(RowBatches, "__call__", die)
        with pytest.raises(Killed):
            pretrain_promoters(
                corpora[0], validation, tokenizer, folder=tmp_path / "cut", **settings
            )
    again = pretrain_promoters(
        corpora[0], validation, tokenizer, folder=tmp_path / "cut", **settings
    )
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    with pytest.raises(ValueError, match="random_tokens: saved 'corrected', now 'reference'"):
        pretrain_promoters(
            *(corpora[0], validation, tokenizer),
            folder=tmp_path / "cut",
            **{**settings, "random_tokens": "reference"},
        )


def test_the_best_checkpoint_is_kept_or_the_last(tokenizer, corpora, validation, tmp_path) -> None:
    """A rate that ruins the network: the best is the one before the last."""
    settings = {**SMALL, "steps": 8, "eval_every": 2, "schedule": "constant", "peak_lr": 1.0}
    kept = {}
    for select in ("best", "last"):
        result = pretrain_promoters(
            *(corpora[0], validation, tokenizer),
            folder=tmp_path / select,
            **{**settings, "select": select, "warmup_steps": 6},
        )
        kept[select] = result.model.state_dict()
        assert result.fit.best_step < 8
        best = load_florabert(result.fit.best_checkpoint, "masked_lm").state_dict()
        same = all(torch.equal(best[name], value) for name, value in kept[select].items())
        assert same == (select == "best")
    with pytest.raises(ValueError, match="select is 'first', expected one of: best, last"):
        pretrain_promoters(
            *(corpora[0], validation, tokenizer), folder=tmp_path / "x", **settings, select="first"
        )


def test_random_tokens_switch(tokenizer, corpora) -> None:
    """Of the reference some replacements are special tokens, of the corrected none."""
    byte = train_byte_bpe(random_promoters(60, 0), 5 + 256 + 20, max_tokens=64)
    corpus = tokenize_corpus(random_promoters(40, 1), byte)
    found = {}
    for mode in ("corrected", "reference"):
        batches = RowBatches(
            lambda step, start, stop: [corpus.row(i) for i in range(40)],
            pad_left,
            vocab_size=len(byte),
            rows_per_step=40,
            mask_share=0.9,
            random_ids_R=replacement_ids(byte, mode),
        )
        batch = batches(0, 0)
        seen = batch["input_ids"].flatten()[batch["positions"]]
        found[mode] = seen[(seen != MASK) & (seen != batch["targets"])]
        assert int(batch["targets"].min()) >= N_SPECIAL
    allowed = set(replacement_ids(byte).tolist())
    assert set(found["corrected"].tolist()) <= allowed
    assert not set(found["reference"].tolist()) <= allowed


def test_the_tss_end_is_learnt(tokenizer, validation, tmp_path) -> None:
    """Positions from the TSS: a fixed end is told better than by composition."""
    texts = [text + "TATAAAGGCC" for text in random_promoters(200, 7)]
    held_out = [text + "TATAAAGGCC" for text in random_promoters(30, 8)]
    ends = [np.arange(len(text) - 10, len(text) - 4) for text in held_out]
    frozen = freeze_shared(held_out, ends, tokenizer)
    result = pretrain_promoters(
        tokenize_corpus(texts, tokenizer),
        frozen,
        tokenizer,
        folder=tmp_path,
        **{**SMALL, "steps": 120, "rows_per_step": 16, "peak_lr": 5e-3, "dropout": 0.0},
        mask_share=0.3,
    )
    history = result.fit.history
    first = history["valid_bits_per_hidden_base"].dropna().iloc[0]
    assert first > 1.5
    assert result.fit.best_value < 0.8


def test_what_does_not_fit_is_refused(tokenizer, corpora, validation, tmp_path) -> None:
    small = {**SMALL, "steps": 1, "eval_every": 0}
    start = pretrain_promoters(
        corpora[0], validation, tokenizer, folder=tmp_path / "start", **small
    ).final
    other = train_byte_bpe(random_promoters(60, 5), 5 + 5 + 19, alphabet="dna", max_tokens=64)
    with pytest.raises(ValueError, match="the corpus has 30 ids, the tokenizer 29"):
        pretrain_promoters(corpora[0], validation, other, folder=tmp_path / "a", **small)
    corpus = tokenize_corpus(random_promoters(9, 1), other)
    with pytest.raises(ValueError, match="was trained with another tokenizer than the one given"):
        pretrain_promoters(corpus, validation, other, folder=tmp_path / "b", start=start, **small)
    for change in ({"preset": "micro"}, {"positions": "reference"}):
        with pytest.raises(ValueError, match="expected those of preset"):
            pretrain_promoters(
                *(corpora[0], validation, tokenizer),
                folder=tmp_path / "c",
                start=start,
                **{**small, **change},
            )
    with pytest.raises(ValueError, match="stages names rice, expected 'plants' and 'maize' only"):
        pretrain_two_stages(
            *(*corpora, validation, tokenizer), folder=tmp_path / "d", stages={"rice": {}}, **small
        )
