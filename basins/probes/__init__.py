"""Diagnostic sets that tell strategies apart. One file is one diagnostic."""
