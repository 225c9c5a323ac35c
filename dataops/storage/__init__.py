"""Immutable records and data files: the two seams through which everything reaches a disk."""
