"""What implements the protocols of `pipeline`: importing or constructing never downloads, and nothing calls home."""

import logging
import os

# The wheel of onnxruntime marks the machine with an id in the home folder and is made to report its use to its maker, unless
# it is told not to before it is loaded. Who reads faces with attuned is nobody's business.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# mediapipe loads matplotlib to draw, which we do not; its worries about a home that cannot be written are not ours.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
