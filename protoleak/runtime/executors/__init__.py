"""Two graphs and the noising between them."""
