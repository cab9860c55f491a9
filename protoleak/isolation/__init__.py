"""Work on what strangers made, in a process of its own with limits on processor time, memory and wall time."""
