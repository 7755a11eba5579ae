"""Speech recognition on LibriSpeech: RNN-T."""
