"""What is a sequence? Codes, FASTA, stores of bases, k-mers, simulation, splits."""
