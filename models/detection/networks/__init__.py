"""Detection networks, with the parameter names of their published weights (imports torch)."""
