"""Governed data, parallel training, batch rescoring and promotion as one line, on Dask."""

__version__ = "0.1.0"
