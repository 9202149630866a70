"""Someone's own checkpoints and data: joined, clustered, probed and merged, without DVC."""
