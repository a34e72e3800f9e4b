"""What this machine has: cores, memory, accelerators, power."""
