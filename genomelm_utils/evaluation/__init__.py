"""Is it any good? Metrics and statistics."""
