"""The JSON Schema of scenario files, generated from the types that describe them.

It is shipped as :data:`SCHEMA_FILE` for editors; ``python -m clnrm_testing.schema``, started in ``tests``,
writes it. It describes the canonical form; references, such as the name of a service in a step, are beyond a
schema.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from clnrm_testing import format_types
from pytest_clnrm.scenario.format import document
from pytest_clnrm.scenario.format.check_document import CheckDoc
from pytest_clnrm.scenario.format.document import FileDoc

SCHEMA_FILE = Path(document.__file__).with_name("scenario.schema.json")

_TEMPLATE = {"type": "string", "pattern": "\\{\\{"}


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) as plain builtins."""
    made = msgspec.json.schema(FileDoc)
    definitions = {name: _tidy(each) for name, each in made["$defs"].items()}
    for name, table in format_types.tables().items():
        definition = definitions[name]
        for key in format_types.keys(table):
            definition["properties"][key.name] = _described(definition["properties"][key.name], key)
        if one_of := format_types.model_of(table).ONE_OF:
            definition["oneOf"] = [{"required": [key]} for key in one_of]
    # A preset has an image, in place of which the service may name one.
    sources = definitions["FileServiceDoc"]["oneOf"]
    sources.append({"required": ["preset"], "not": {"anyOf": list(sources)}})
    for each in definitions["StepDoc"]["oneOf"]:
        if each["required"] == ["run"]:
            # Beside an image it says with which arguments.
            each["not"] = {"required": ["image"]}
    refined = {"anyOf": [{"required": ["header"]}, {"required": ["cookie"]}]}
    definitions["CaptureDoc"]["oneOf"][0]["not"] = refined
    ready = definitions["ReadyDoc"]
    for choice in ready["properties"]["healthcheck"]["anyOf"]:
        if choice.get("type") == "boolean":
            choice["const"] = True
    ready["dependentRequired"] = {"times": ["log"], "verify": ["https"]}
    _checks(definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A scenario file of pytest-clnrm",
        "$ref": made["$ref"],
        "$defs": definitions,
    }


def _checks(definitions: dict[str, Any]) -> None:
    """Say which keys of a check go together, and that a file may hold checks alone."""
    for name in ("CheckDoc", "EndCheckDoc"):
        definitions[name]["anyOf"] = [{"required": [kind]} for kind in CheckDoc.KINDS]
        keys = {key for keys in CheckDoc.KINDS.values() for key in keys} - CheckDoc.KINDS.keys()
        definitions[name]["dependentSchemas"] = {
            key: {
                "anyOf": [{"required": [kind]} for kind, with_it in CheckDoc.KINDS.items() if key in with_it]
            }
            for key in sorted(keys - {"service"})
        }
    others = [{"required": [key]} for key in FileDoc.ONE_OF]
    definitions["ScenarioDoc"]["anyOf"] = [{"required": [key]} for key in ("step", "check")]
    definitions["FileDoc"]["oneOf"].append({"required": ["check"], "not": {"anyOf": others}})


def schema_text() -> str:
    """Return the text of the shipped file."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _described(schema: dict[str, Any], key: format_types.Key) -> dict[str, Any]:
    """Return the schema of a key with what is said of it.

    Of a table msgspec gives a reference alone. What stands beside one editors do not show, but beside an
    ``anyOf`` they do.
    """
    if "$ref" in schema:
        schema = {"anyOf": [{"$ref": schema["$ref"]}], **{k: v for k, v in schema.items() if k != "$ref"}}
    return {**schema, "description": key.description, "examples": list(key.examples)}


def _tidy(schema: Any) -> Any:
    """Return *schema* without null, which TOML lacks, and with templates where a text has a form."""
    if not isinstance(schema, dict):
        return schema
    tidy = {
        key: _tidy_below(key, each)
        for key, each in schema.items()
        # Titles are names of classes, which editors would show.
        if key != "title" and not (key == "default" and (each is None or isinstance(each, (dict, list))))
    }
    if tidy.get("type") == "object" or not tidy.keys() & {"type", "anyOf", "enum", "$ref"}:
        # A table of anything, or anything: Tombi wants that said.
        tidy.setdefault("additionalProperties", True)
    if isinstance(tidy.get("description"), str):
        # What follows is for who reads the code.
        tidy["description"] = tidy["description"].partition("\n\n")[0]
    choices = tidy.get("anyOf")
    if choices:
        rest = [each for each in choices if each != {"type": "null"}]
        if len(rest) == 1:
            del tidy["anyOf"]
            tidy.update(rest[0])
        else:
            tidy["anyOf"] = rest
    if "enum" in tidy or ("pattern" in tidy and tidy != _TEMPLATE):
        form = {key: tidy.pop(key) for key in ("enum", "type", "pattern", "minLength") if key in tidy}
        tidy["anyOf"] = [form, dict(_TEMPLATE)]
    return tidy


def _tidy_below(key: str, value: Any) -> Any:
    """Return what stands in *key* of a schema: a schema, several, or something else."""
    if key == "properties":
        return {name: _tidy(each) for name, each in value.items()}
    if key == "anyOf":
        return [_tidy(each) for each in value]
    return _tidy(value) if key in {"items", "additionalProperties"} else value


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
