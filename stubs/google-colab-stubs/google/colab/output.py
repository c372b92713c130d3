"The output area of a cell."
from contextlib import contextmanager
from typing import Any, Callable, Iterator

def enable_custom_widget_manager(version: str = '5.0.0a') -> None:
    "Let third-party widgets load their code"
def disable_custom_widget_manager() -> None:
    "Undo `enable_custom_widget_manager`"
def no_vertical_scroll() -> None:
    "Let the output grow"
def clear(wait: bool = False, output_tags: tuple = ()) -> None:
    "Clear the output"
    if not isinstance(wait, bool): raise ValueError('wait must be a boolean value')
def eval_js(script: str, ignore_result: bool = False, timeout_sec: float | None = None) -> Any:
    "Evaluate JavaScript in the browser; without one there is no value"
def register_callback(function_name: str, callback: Callable) -> None:
    "Let JavaScript call `callback`"
@contextmanager
def use_tags(tags: Any, append: bool = True) -> Iterator[None]:
    "Tag what is printed inside"
    yield
@contextmanager
def temporary() -> Iterator[None]:
    "Remove afterwards what is printed inside"
    yield
