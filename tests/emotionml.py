"""What EmotionML 1.0 (W3C Recommendation, 22 May 2014) demands of a document, and its published vocabularies.

The rules are those of the recommendation's XML schema and of the assertions beyond it (a name must be in the vocabulary
that its emotion uses), written down anew: the schema itself is not part of this repository. Parts that attuned never
writes, such as traces and appraisals, are refused here though the recommendation has them.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

NAMESPACE = "http://www.w3.org/2009/10/emotionml"
VOCABULARIES = {
    "category": {
        "http://www.w3.org/TR/emotion-voc/xml#big6": {"anger", "disgust", "fear", "happiness", "sadness", "surprise"}
    },
    "dimension": {
        "http://www.w3.org/TR/emotion-voc/xml#fsre-dimensions": {"valence", "potency", "arousal", "unpredictability"}
    },
}
"""Vocabularies for EmotionML (W3C Note, 1 April 2014), those that attuned uses."""
NMTOKEN = re.compile(r"[\w.:-]+")
NCNAME = re.compile(r"[^\W\d][\w.-]*")
COUNT = re.compile(r"\+?\d+|-0+")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
SPACE = re.compile(r"\s")


def complaints(root: ET.Element) -> list[str]:
    """What is wrong with a document; [] when nothing is."""
    return list(_document(root))


def _document(root: ET.Element) -> Iterator[str]:
    if root.tag != f"{{{NAMESPACE}}}emotionml":
        yield f"the root is {root.tag}"
    yield from _attributes(root, {"version"}, {"version"})
    if root.get("version") != "1.0":
        yield "version is not 1.0"
    own = _vocabularies(root)
    ids = [element.get("id") for element in root.iter() if element.get("id") is not None]
    if len(ids) != len(set(ids)):
        yield "an id is given twice"
    for i, child in enumerate(root):
        if _name(child) == "info":
            if i:
                yield "info is not the first"
            yield from _info(child)
        elif _name(child) == "vocabulary":
            yield from _vocabulary(child)
        elif _name(child) == "emotion":
            yield from _emotion(child, own)
        else:
            yield f"{child.tag} in the document"


def _vocabularies(root: ET.Element) -> dict[str, dict[str, set[str]]]:
    """The published ones, and those that the document declares."""
    found: dict[str, dict[str, set[str]]] = {kind: dict(known) for kind, known in VOCABULARIES.items()}
    for child in root:
        if _name(child) == "vocabulary" and child.get("type") in found:
            items = {item.get("name", "") for item in child}
            found[child.get("type", "")][f"#{child.get('id')}"] = items
    return found


def _info(info: ET.Element) -> Iterator[str]:
    yield from _attributes(info, {"id"}, set())
    for child in info:
        if not child.tag.startswith("{") or child.tag.startswith(f"{{{NAMESPACE}}}"):
            yield f"{child.tag} in info is of no other namespace"


def _vocabulary(vocabulary: ET.Element) -> Iterator[str]:
    yield from _attributes(vocabulary, {"type", "id"}, {"type", "id"})
    if vocabulary.get("type") not in {"category", "dimension", "appraisal", "action-tendency"}:
        yield f"a vocabulary of type {vocabulary.get('type')}"
    if not NCNAME.fullmatch(vocabulary.get("id", "")):
        yield f"a vocabulary with the id {vocabulary.get('id')}"
    items = list(vocabulary)
    names = [item.get("name", "") for item in items]
    if not items or any(_name(item) != "item" or set(item.attrib) != {"name"} or len(item) for item in items):
        yield "a vocabulary has items, with names, and nothing else"
    if len(names) != len(set(names)) or not all(map(NMTOKEN.fullmatch, names)):
        yield f"items called {names}"


def _emotion(emotion: ET.Element, vocabularies: dict[str, dict[str, set[str]]]) -> Iterator[str]:
    sets = {f"{kind}-set" for kind in vocabularies}
    yield from _attributes(emotion, sets | {"id", "start", "end", "expressed-through"}, set())
    for key in ("start", "end"):
        if not COUNT.fullmatch(emotion.get(key, "0")):
            yield f"{key} is {emotion.get(key)}"
    if not all(map(NMTOKEN.fullmatch, emotion.get("expressed-through", "face").split())):
        yield f"expressed-through {emotion.get('expressed-through')}"
    order = [_name(child) for child in emotion]
    if not re.fullmatch(r"(info )?((category|dimension) )+(reference )*", "".join(f"{name} " for name in order)):
        yield f"an emotion of {order}"
    seen: set[tuple[str, str]] = set()
    for child in emotion:
        kind = _name(child)
        if kind == "info":
            yield from _info(child)
        elif kind == "reference":
            yield from _reference(child)
        elif kind in vocabularies:
            yield from _described(child, vocabularies[kind].get(emotion.get(f"{kind}-set", "")))
            if (kind, child.get("name", "")) in seen:
                yield f"{kind} {child.get('name')} is there twice"
            seen.add((kind, child.get("name", "")))


def _described(child: ET.Element, vocabulary: set[str] | None) -> Iterator[str]:
    yield from _attributes(child, {"name", "value", "confidence"}, {"name"})
    if vocabulary is None or child.get("name") not in vocabulary:
        yield f"{child.get('name')} is not in the vocabulary that is used"
    for key in ("value", "confidence"):
        text = child.get(key, "0")
        if not NUMBER.fullmatch(text) or not 0 <= float(text) <= 1:
            yield f"{key} is {text}"
    if _name(child) == "dimension" and child.get("value") is None:
        yield "a dimension without a value"
    if len(child):
        yield f"{child.get('name')} has parts"


def _reference(reference: ET.Element) -> Iterator[str]:
    yield from _attributes(reference, {"uri", "role", "media-type"}, {"uri"})
    if reference.get("role", "expressedBy") not in {"expressedBy", "experiencedBy", "triggeredBy", "targetedAt"}:
        yield f"role {reference.get('role')}"
    if SPACE.search(reference.get("uri", "")):
        yield f"uri {reference.get('uri')}"


def _attributes(element: ET.Element, allowed: set[str], needed: set[str]) -> Iterator[str]:
    if not needed <= set(element.attrib) <= allowed:
        yield f"{element.tag} with {sorted(element.attrib)}"


def _name(element: ET.Element) -> str:
    """The name of an element of EmotionML; of others with their namespace."""
    return element.tag.removeprefix(f"{{{NAMESPACE}}}")
