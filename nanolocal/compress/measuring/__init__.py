"""What a build is measured with and by: text, what layers compute on it, divergence and the task suite."""
