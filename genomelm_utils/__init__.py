"""Helpers behind the notebooks: one folder per question (see README, file map)."""
