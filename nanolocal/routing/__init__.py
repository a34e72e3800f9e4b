"""Which stored build answers a prompt, and why."""
