"""Where frames come from: files, networks, cameras."""
