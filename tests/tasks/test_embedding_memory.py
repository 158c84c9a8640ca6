"""Embedding a file needs no more memory when the file is ten times as large."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from genomelm_utils.sequences.fasta import write_fasta

STATUS = Path("/proc/self/status")
BLOCK_BASES = 200_000
SMALL_BP, LARGE_BP, CONTIG_BP = 400_000, 4_000_000, 2000
MARGIN_MIB = 24  # of peaks; the large file in one block takes more than twice that above the small
CODE = """
import sys
from pathlib import Path
import numpy as np, torch
from genomelm_utils.models.alibi_bert import AlibiBertModel, alibi_config
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.tasks.embedding_files import embed_file
from genomelm_utils.tokenizers.bpe import train_bpe

rng = np.random.default_rng(0)
tokenizer = train_bpe([decode(rng.integers(0, 4, 500, dtype=np.uint8)) for _ in range(20)], 40)
sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
model = AlibiBertModel(alibi_config("micro", vocab_size=40, num_hidden_layers=1, **sizes)).eval()
options = {"progress": False, "token_budget": 4096, "window_bp": 500}
done = embed_file(*sys.argv[1:3], model, tokenizer, block_bases=int(sys.argv[3]), **options)
lines = Path("/proc/self/status").read_text().splitlines()
print(done.n_bases, next(line for line in lines if line.startswith("VmHWM")).split()[1])
"""


def peak_mib(folder: Path, n_bases: int, block_bases: int = BLOCK_BASES) -> float:
    """Peak memory of a process that embeds a file of so many bases."""
    rng = np.random.default_rng(1)
    n = n_bases // CONTIG_BP
    codes = list(rng.integers(0, 4, (n, CONTIG_BP), dtype=np.uint8))
    path = folder / f"{n_bases}.fa"
    write_fasta(path, [f"c{i}" for i in range(n)], codes)
    command = [sys.executable, "-c", CODE, path, folder / f"{n_bases}.npy", str(block_bases)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(out[0]) == n_bases
    return int(out[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.is_file(), reason="peak memory is read from /proc/self/status")
def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    small, large = peak_mib(tmp_path, SMALL_BP), peak_mib(tmp_path, LARGE_BP)
    assert abs(large - small) < MARGIN_MIB
    whole = peak_mib(tmp_path, LARGE_BP, block_bases=LARGE_BP)  # what is bounded, is so by blocks
    assert whole - small > 2 * MARGIN_MIB
