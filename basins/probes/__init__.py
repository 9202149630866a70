"""Diagnostic sets that distinguish strategies. One file is one diagnostic."""
