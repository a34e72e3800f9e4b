"""One build in one file, to be carried to a machine without a network."""
