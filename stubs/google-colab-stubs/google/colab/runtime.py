"The machine behind the notebook."

unassigned = 0 # How often `unassign` was called: the stand-in keeps the machine

def unassign() -> None:
    "Give the machine back"
    global unassigned
    unassigned += 1
