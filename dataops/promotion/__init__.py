"""Gates and verdicts."""
