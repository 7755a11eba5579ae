"""What NVIDIA's harness, and those made of it, call the choice among a task's benchmarks."""

DEFAULT, HIGH_ACCURACY = CONFIG_VERS = ("default", "high_accuracy")
