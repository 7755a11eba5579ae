"""BERT's engines side by side."""
