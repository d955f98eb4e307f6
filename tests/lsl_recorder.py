"""Finds LSL streams as a recorder would and prints what comes: `lsl_recorder.py SCOPE SECONDS`, a JSON object."""

import json
import math
import sys

import pylsl

from daemon.sinks.lsl import configuration

pylsl.set_config_content(configuration(sys.argv[1]))
found = pylsl.resolve_byprop("type", "Expression", minimum=3, timeout=float(sys.argv[2]))
told = {}
for stream in found:
    inlet = pylsl.StreamInlet(stream, max_buflen=60)
    info = inlet.info(timeout=10)
    samples = [inlet.pull_sample(timeout=10) for _ in range(12)]
    told[stream.name()] = {
        "labels": info.get_channel_labels(),
        "type": info.type(),
        "source": info.source_id(),
        "session": info.desc().child_value("session"),
        "samples": [[None if math.isnan(v) else v for v in values] for values, _ in samples],
        # How long after the end of its second a sample came, by the clock that both share.
        "age_s": [pylsl.local_clock() - time_s for _, time_s in samples[-1:]],
    }
    inlet.close_stream()
sys.stdout.write(json.dumps(told))
