"""The report of a recording: tables in, one self-contained page out."""
