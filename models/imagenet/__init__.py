"""ImageNet classification: preprocessing, labels, data sets and accuracy."""
