"""Small models are computed by one thread: more wait for each other longer than they compute."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """For all tests of this folder."""
    torch.set_num_threads(1)
