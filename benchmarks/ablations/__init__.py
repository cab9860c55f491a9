"""Whether the method's parts earn their place: each is switched off or replaced, and everything else stays."""
