"""One module per command. Each is loaded when its command runs, and not for `--help`."""
