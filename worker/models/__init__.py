"""Model bundles: a card, safetensors, and how they become networks in memory."""
