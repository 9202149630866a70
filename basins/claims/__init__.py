"""The papers' claims as statistical tests over the results. One file is one paper.

`ledger.py` has what they share: how a claim is declared and how it becomes an entry.
"""
