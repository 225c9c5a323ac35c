"""Prepare jobs: from raw to governed training sets."""
