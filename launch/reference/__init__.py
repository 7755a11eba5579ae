"""The command line of MLPerf's reference implementations, in loadrun's words."""
