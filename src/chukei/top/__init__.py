"""``chukei top``: the live view in a terminal, with the standard library.

cells     text in the cells of a terminal
screen    what is shown, as lines
source    a relay's events
terminal  the screen and the keyboard
run       the command
"""
