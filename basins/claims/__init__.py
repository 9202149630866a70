"""The papers' claims as statistical tests over the results. One file is one paper."""
