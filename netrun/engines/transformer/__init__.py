"""int8 transformer encoders on AMX, over streams of tokens without padding."""
