"""Personal models: what a participant's samples are, who learns from them, who judges, and where versions lie."""
