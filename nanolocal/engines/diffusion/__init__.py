"""The picture engine: one diffusers pipeline, from local files alone. Runs in the child.

Importing torch and diffusers takes seconds, so both are imported when a build is loaded and only then.
"""
