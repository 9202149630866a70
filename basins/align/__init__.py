"""Alignment: removing symmetries before networks are compared.

A method is a file with `align`, for two networks, or `align_all`, for any number; the others are
what methods share.
"""
