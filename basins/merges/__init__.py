"""Merging techniques. One file is one technique."""
