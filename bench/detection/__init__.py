"""The detectors' engines side by side."""
