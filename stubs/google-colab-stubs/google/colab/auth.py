"Authorisation of the user."

def authenticate_user(clear_output: bool = True, project_id: str | None = None) -> None:
    "Ask the user to authorise access to Google's services"
