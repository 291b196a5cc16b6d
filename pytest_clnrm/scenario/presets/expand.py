"""Services with ``preset = "NAME"``: its keys are put below their own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.dialects.normalise import Normalised
from pytest_clnrm.scenario.expanded import Written
from pytest_clnrm.scenario.presets.library import PRESET, PresetError, over, preset
from pytest_clnrm.scenario.presets.users import UsersPresets


@dataclass
class WithPresets:
    """A file whose services have the keys of their presets.

    :ivar origins: path in the file as its author wrote it -> where in the user's presets it stands.
    :ivar wrong: path in the file, message and hint of each mistake.
    """

    normal: Normalised
    origins: dict[KeyPath, Written] = field(default_factory=dict)
    wrong: list[tuple[KeyPath, str, str]] = field(default_factory=list)


def with_presets(normal: Normalised, users: UsersPresets) -> WithPresets:
    """Return a file with presets filled in."""
    done = WithPresets(normal)
    services = normal.document.get("service")
    made = dict(services) if isinstance(services, dict) else {}
    for name, own in made.items():
        if not isinstance(own, dict) or not isinstance(own.get(PRESET), str):
            continue
        at: KeyPath = ("service", name)
        used = normal.origin((*at, PRESET))
        try:
            found = over(own, preset(own[PRESET], users))
        except PresetError as error:
            done.wrong.append((used, str(error), error.hint))
            # Filled in, so that no image is asked for once more.
            made[name] = {"image": "unknown:unknown", **own}
            continue
        made[name] = dict(found.keys)
        for path, place in found.places.items():
            key = (*normal.origin(at), *path)
            done.origins[key] = Written(users.path, place, used)
    if made:
        done.normal = dataclasses.replace(normal, document={**normal.document, "service": made})
    return done
