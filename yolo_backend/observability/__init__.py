"""What an operator sees: logs without secrets, metrics, and which request a line belongs to."""
