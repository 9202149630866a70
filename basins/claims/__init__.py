"""The papers' claims as statistical tests over the results. One file is one paper.

`ledger.py` is what they share: what a claim may measure, and how it becomes an entry.
"""
