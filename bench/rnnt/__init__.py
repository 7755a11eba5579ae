"""RNN-T's engines side by side."""
