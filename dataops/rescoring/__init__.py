"""Batch scoring of whole datasets with one model version."""
