"""The files that ``label-studio-ml create`` starts a project with."""
