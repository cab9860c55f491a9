"""The operators that a graph in a bundle may use: an allow-list, with the size of what each makes."""
