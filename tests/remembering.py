"""Who is still known to an object: pseudonyms in any text that can be reached from it."""

import gc
import re
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType

_PSEUDONYM = re.compile(r"p-[0-9a-f]{8}")
_PASSED_OVER = (type, ModuleType, CodeType, FrameType, BuiltinFunctionType)
"""What leads to everything else there is."""


def remembered(root: object) -> set[str]:
    """All pseudonyms in keys, values, texts and bytes, however deep; of functions what they were bound to."""
    found: set[str] = set()
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        it = waiting.pop()
        if id(it) in seen or isinstance(it, _PASSED_OVER):
            continue
        seen.add(id(it))
        if isinstance(it, str):
            found.update(_PSEUDONYM.findall(it))
        elif isinstance(it, bytes | bytearray):
            found.update(_PSEUDONYM.findall(it.decode(errors="replace")))
        elif isinstance(it, FunctionType):
            waiting += [*(it.__closure__ or ()), *(it.__defaults__ or ())]
        elif isinstance(it, dict):
            # Of a dict whose keys are all texts the collector does not name them.
            waiting += [*it.keys(), *it.values()]
        else:
            waiting += gc.get_referents(it)
    return found
