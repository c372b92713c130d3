"Colab's secrets; here they are environment variables named COLAB_SECRET_<key>."
import os
from google.colab.errors import Error

class SecretNotFoundError(Error):
    "There is no such secret"
    def __init__(self, key: str): super().__init__(f'Secret {key} does not exist.')

class NotebookAccessError(Exception):
    "The notebook may not read this secret (a plain Exception on Colab, too)"
    def __init__(self, key: str): super().__init__(f'Notebook does not have access to secret {key}')

class TimeoutException(Error):
    "No front end answered"
    def __init__(self, key: str):
        super().__init__(f'Requesting secret {key} timed out. Secrets can only be fetched when running from the Colab UI.')

def get(key: str) -> str:
    "The secret `key`"
    if not key or not isinstance(key, str): raise ValueError('Please enter a valid secret name')
    if any(c.isspace() for c in key): raise ValueError('Secret name cannot contain spaces or whitespace')
    v = os.environ.get(f'COLAB_SECRET_{key}')
    if v is None: raise SecretNotFoundError(key)
    if v == '<denied>': raise NotebookAccessError(key)
    if v == '<timeout>': raise TimeoutException(key)
    return v
