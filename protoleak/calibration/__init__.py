"""What is fitted after training: metric heads, open-set densities, temperature, conformal lists, class statistics."""
