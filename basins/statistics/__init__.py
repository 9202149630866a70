"""Intervals over examples and over seeds. One file is one method."""
