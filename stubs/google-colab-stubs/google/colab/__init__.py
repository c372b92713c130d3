"Stand-in for google.colab: what it imports by itself, the real one imports too (`userdata` is not among them)."
from google.colab import auth, drive, errors, files, output, runtime
