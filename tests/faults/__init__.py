"""Crashes, killed processes and hostile files."""
