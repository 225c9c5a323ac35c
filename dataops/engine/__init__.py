"""From a cluster file to units of work done on Dask."""
