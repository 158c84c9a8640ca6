"""Which words? Motif discovery, comparison with known motifs, motif files."""

from genomelm_utils.motifs.search import discover

__all__ = ["discover"]
