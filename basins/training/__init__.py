"""Ways to obtain a network. One file is one method."""
