"""What parts measure with: clips, rollouts, metrics on pictures, statistics over maps."""
