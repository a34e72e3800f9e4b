"""Runs builds, each in a child process of its own: text by llama.cpp, pictures by diffusers."""
