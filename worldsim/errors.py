"""The errors that are the user's to mend."""


class UserError(ValueError):
    """A mistake that the user can mend: the message is one line that says what is wrong and what to do.

    The command line prints it without a traceback and exits with code 2.
    """
