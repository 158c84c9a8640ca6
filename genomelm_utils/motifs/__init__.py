"""Which words? Motif discovery, comparison with known motifs, motif files."""
