"""One turn of a conversation, and the words every other room shares. Standard library only."""
