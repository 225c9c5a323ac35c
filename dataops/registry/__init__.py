"""Model versions and aliases in a directory."""
