"""What answers requests: who computes what, when it is answered, and what is delivered later."""
