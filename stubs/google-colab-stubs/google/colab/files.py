"Files to and from the browser; here there is none."
import os

def download(filename: str) -> None:
    "Offer a file for download"
    if not os.path.exists(filename): raise FileNotFoundError(f'Cannot find file: {filename}')

def view(filepath: str) -> None:
    "Show a file in the browser"
    if not os.path.exists(filepath): raise FileNotFoundError(f'Cannot find file: {filepath}')

def upload(target_dir: str = '') -> dict[str, bytes]:
    "Ask for files; without a browser nobody chooses any"
    return {}
