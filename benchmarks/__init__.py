"""Scripts that measure protoleak, and the controlled generators that they measure it on. Not part of the package."""
