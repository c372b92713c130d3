"Exceptions of google.colab."

class Error(Exception): "Base of Colab's own errors"
class AuthorizationError(Error): "The user did not authorise"
class RuntimeManagementError(Error): "The runtime could not be managed"
class WidgetException(Exception): "A widget failed"
