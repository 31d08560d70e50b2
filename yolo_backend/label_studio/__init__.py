"""Label Studio as this service knows it: its address, credentials, labeling configs, projects and frame numbers."""
