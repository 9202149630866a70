"""Merging techniques, of several networks into one or into an ensemble.

A technique is a file with `merge`; the others are its inputs, and what techniques share.
"""
