"""Exams: questions with checkable answers, by task, that say what a build can do on this device."""
