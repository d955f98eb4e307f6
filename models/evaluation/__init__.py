"""What `attuned evaluate expression` measures and shows; needs no torch."""
