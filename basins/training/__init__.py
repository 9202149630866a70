"""Training and fine-tuning, of networks of images and of text.

A method is a file with `train`, `finetune`, `pretrain` or `tune`; the others are the loops, the
rows and the items of the store that methods share.
"""
