"""Every connection that leaves this process, and which servers it may go to."""
