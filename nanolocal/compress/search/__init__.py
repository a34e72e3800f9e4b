"""Which type each tensor gets: tables of losses, the integer program over them, and the files that are tried."""
