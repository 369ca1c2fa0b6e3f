"""A text that is one of the names of a table, for pydantic: the table may grow while the program runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import GetJsonSchemaHandler
from pydantic.functional_validators import AfterValidator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from foredraft.core.errors import ParameterError


class OneOf:
    """An annotation of `str`. `check` raises `ParameterError`."""

    def __init__(self, words: Callable[[], Sequence[str]], check: Callable[[str], None]) -> None:
        self.words, self._check = words, check

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler.generate_schema(Annotated[source, AfterValidator(self._checked), _Schema(self.words)])

    def _checked(self, value: str) -> str:
        try:
            self._check(value)
        except ParameterError as error:
            allowed = error.allowed.removeprefix("one of ")
            message = "Input should be one of {expected}"
            raise PydanticCustomError("literal_error", message, {"expected": allowed}) from None
        return value


class _Schema:
    """For the JSON schema: the words as they are when it is asked for."""

    def __init__(self, words: Callable[[], Sequence[str]]) -> None:
        self._words = words

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "enum": list(self._words())}
