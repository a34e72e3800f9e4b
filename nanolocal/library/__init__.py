"""The builds on this device: found, checked and described."""
