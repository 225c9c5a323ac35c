"""Contracts, policies, grants, masks, keys and audit: who may see what, decided without touching data."""
