"""Trainers, and evaluation overall and by slice."""
