"""Summary, encoder and feature program: the same steps in training, rescoring and applications."""
