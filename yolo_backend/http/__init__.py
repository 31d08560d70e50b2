"""All connections that leave this process, and the servers that they may go to."""
