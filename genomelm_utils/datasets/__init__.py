"""What did the papers use? Registry, few-shot sets, audit."""
