"""The command line: reads arguments, renders events, decides nothing."""
