"""Predictors and a model version's folder, without Dask and pandas."""
