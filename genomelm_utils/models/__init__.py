"""What computes? Presets and architectures."""
