"""The scheduler script: which slots are due, who does them, and what came of them."""
