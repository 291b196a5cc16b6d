"""Images of prepared services."""

from __future__ import annotations

from clnrm_testing.defences import Defence

_MAKING = "pytest_clnrm.runner.made_of:_Making"

DEFENCES = (
    Defence(
        name="a service with a secret is not kept as an image",
        target=f"{_MAKING}.check_secrets",
        without=lambda _: lambda self, service, spec: None,
        attack="test_prepared.py::test_a_secret_does_not_get_into_an_image",
        shows="IT IS IN AN IMAGE",
    ),
    Defence(
        name="files are searched for secrets before an image is made",
        target=f"{_MAKING}._holds_secret",
        without=lambda _: lambda self, content: False,
        attack="test_prepared.py::test_a_secret_in_files_does_not_get_into_an_image",
        shows="IT IS IN AN IMAGE",
    ),
    Defence(
        name="an image is found by what its service mounts",
        target=f"{_MAKING}.digest",
        without=lambda _: lambda self, source: "",
        attack="test_prepared.py::test_an_image_does_not_stand_for_another_service",
        shows="IT IS OF ANOTHER",
    ),
)
