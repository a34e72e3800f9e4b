"""How much memory a build takes and how fast it will be, known before it is fetched or loaded."""
