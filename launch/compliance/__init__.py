"""Compliance tests of MLPerf Inference: their settings, their rules, and what they leave behind."""
