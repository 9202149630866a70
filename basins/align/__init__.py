"""Removing symmetries before two networks are compared. One file is one method."""
