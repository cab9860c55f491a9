"""What a record of a measurement names: the machine, a Jetson's clocks, memory."""
