"""Diagnostic sets that distinguish strategies.

A diagnostic is a file with `measures`; the others are what diagnostics share.
"""
