"""What processes of their own do for the lab: the tasks, the children, and workers on other machines."""
