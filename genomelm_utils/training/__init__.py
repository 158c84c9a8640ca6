"""How does a model learn? One loop, checkpoints, schedules."""
