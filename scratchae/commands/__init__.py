"""The verbs of the command line, and the files that they read and write."""
