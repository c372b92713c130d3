"The shell of Colab's kernel; not imported by `google.colab`, because it needs ipykernel."
from ipykernel.zmqshell import ZMQInteractiveShell

class Shell(ZMQInteractiveShell):
    "What `get_ipython()` is an instance of on Colab"
