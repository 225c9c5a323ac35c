"""What people write: strict YAML to values."""
