"""The command `python -m genomelm_utils.species`: sequences of one's own, and their species."""
