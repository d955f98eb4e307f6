"""The made-up call: filmed from a script, run through everything, compared with the script."""
