"""Whole projects and directories, from the command line."""
