"""The command line and Python interface for a user's own checkpoints and data, without DVC."""
