"""The parts of `train_starter_vision.py`."""
