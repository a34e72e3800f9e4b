"""The task classifier's training: seeds written by hand, public text, noise, the learner and the card."""
