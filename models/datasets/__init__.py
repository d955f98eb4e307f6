"""Data sets of labelled faces that attuned can be trained and measured on, in the forms in which they are found."""
