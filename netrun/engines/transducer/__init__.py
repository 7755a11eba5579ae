"""int8 recurrent transducers on AMX: LSTM layers over utterances without padding."""
