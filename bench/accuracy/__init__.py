"""int8 against fp32 on labelled images: right answers and the error of the outputs."""
