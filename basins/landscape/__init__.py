"""Measures of a loss landscape. One file is one measure."""
