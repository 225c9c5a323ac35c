"""The ledger of runs, and the journey of a job from declaration to report."""
