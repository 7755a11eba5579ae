"""BERT on SQuAD v1.1: question answering over paragraphs.

articles ──features──▶ windows: token ids, without padding ──network──▶ start and end logits
logits ──answers──▶ a text for each question ──score──▶ exact match, F1
"""
