"""How long batches of each size take, as the compiler measured it: figures, table, chart."""
