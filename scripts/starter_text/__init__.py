"""The text starter build: its generators of training text, its model, its training and its export."""
