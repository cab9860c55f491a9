"""Reports as single HTML files: page, tables and plots. No network, no script, nothing beside the file."""
