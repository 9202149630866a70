"""Alignment: removing symmetries before networks are compared. One file is one method."""
