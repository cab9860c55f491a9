"""What was called unknown, sorted into clusters that may be generators nobody knows yet."""
