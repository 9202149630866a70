"""Training and fine-tuning methods. One file is one method."""
