"""What this process and its children can take of memory now."""

from nanolocal.device import cgroup


class Memory:
    """Asks the system and the control group each time; implements ``engines.governor.Gauge``."""

    def free(self) -> int:
        """Bytes that can be taken now, file pages that would be given up for it among them; takes a millisecond."""
        import psutil

        available: int = psutil.virtual_memory().available
        in_group = cgroup.limits().memory_free
        return available if in_group is None else min(available, in_group)

    def oom_kills(self) -> int | None:
        """Processes that were ended for their memory so far; ``None`` where nobody counts them."""
        return cgroup.oom_kills()
