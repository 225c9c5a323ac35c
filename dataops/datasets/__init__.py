"""The catalog, snapshots, units, the one governed read and the one commit."""
